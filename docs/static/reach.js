// What scrolls gets a stop for the Tab key: not every browser gives it one by itself.
const scrolls = /auto|scroll/;
const reach = box => {
  const { overflowX, overflowY } = getComputedStyle(box);
  const wide = scrolls.test(overflowX) && box.scrollWidth > box.clientWidth;
  const tall = scrolls.test(overflowY) && box.scrollHeight > box.clientHeight;
  if (wide || tall) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
};
const sizes = new ResizeObserver(changes => changes.forEach(({ target }) => reach(target)));
const watch = () => {
  for (const box of document.querySelectorAll("body *:not([tabindex])")) {
    if (scrolls.test(getComputedStyle(box).overflow)) sizes.observe(box);
  }
};
addEventListener("load", () => {
  watch();
  window.MathJax?.startup?.promise?.then(watch);
});
