"""Every link of a built site leads somewhere, and no page asks another machine for anything."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "srcset"}
"""Elements that a browser loads at once, and where from."""
IN_STYLE = re.compile(r"(?:url\(|@import\s*)[\"']?((?:https?:)?//[^\"')\s]+)")


class Page(HTMLParser):
    """The ids of a page, where it links to, and what it loads."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        text = path.read_text("utf-8")
        self.loads |= set(IN_STYLE.findall(text))
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        loaded = given.get(LOADS.get(tag, ""))
        if loaded and not loaded.startswith("data:"):
            self.loads.add(loaded.split()[0])


def problems(site: Path) -> list[str]:
    """What is wrong with the links of a folder of pages."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        found += [
            f"{name} loads {target} from another machine"
            for target in sorted(page.loads)
            if urlsplit(target).netloc
        ]
        for target in sorted(page.links | page.loads):
            if not _leads_somewhere(target, path, pages):
                found.append(f"{name}: {target} leads nowhere")
    for path in sorted(site.rglob("*.css")):
        found += [
            f"{path.relative_to(site)} loads {target} from another machine"
            for target in IN_STYLE.findall(path.read_text("utf-8"))
        ]
    return found


def _leads_somewhere(target: str, path: Path, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return True  # another site; nothing is asked of it here
    to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not to.is_file():
        return False
    anchors = {parts.fragment, unquote(parts.fragment)}  # a browser tries it both ways
    return not parts.fragment or to not in pages or bool(anchors & pages[to].ids)


def main(site: Path) -> int:
    found = problems(site)
    for line in found:
        print(line)
    count = len(list(site.rglob("*.html")))
    print(f"{count} pages, {len(found) or 'no'} broken link{'s' if len(found) != 1 else ''}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
