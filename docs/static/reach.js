// What scrolls gets a stop for the Tab key: not every browser gives it one by itself.
const reach = box => {
  if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
};
const sizes = new ResizeObserver(changes => changes.forEach(({ target }) => reach(target)));
const watch = () => {
  for (const box of document.querySelectorAll("body *:not([tabindex])")) {
    if (/auto|scroll/.test(getComputedStyle(box).overflow)) sizes.observe(box);
  }
};
addEventListener("load", () => {
  watch();
  window.MathJax?.startup?.promise?.then(watch);
});
