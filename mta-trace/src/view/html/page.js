"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  root.classList.add("js");
  const say = (text) => { byId("status").textContent = text; };

  // Colours: as the system has them, or as chosen; remembered where the browser allows it.
  const theme = byId("theme");
  const keep = (value) => { try { localStorage.setItem("mta-trace-theme", value); } catch { /* a file may have no storage */ } };
  const kept = () => { try { return localStorage.getItem("mta-trace-theme") || ""; } catch { return ""; } };
  const paint = (value) => { if (value) root.dataset.theme = value; else delete root.dataset.theme; };
  theme.value = kept();
  paint(theme.value);
  theme.addEventListener("change", () => { paint(theme.value); keep(theme.value); });

  // Folds: all at once, the one that a link leads into, and on paper those that matter.
  const folds = () => all("main details");
  const openAll = byId("open-all");
  openAll.addEventListener("click", () => {
    const open = folds().some((fold) => !fold.open);
    folds().forEach((fold) => { fold.open = open; });
    openAll.textContent = open ? "Close all" : "Open all";
  });
  byId("print").addEventListener("click", () => window.print());
  const reveal = () => {
    const target = byId(location.hash.slice(1));
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    const own = target.querySelector(":scope > td > details");
    if (own) own.open = true;
    target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
    const place = (target.matches("tr, details, article") && target.querySelector("summary")) || target;
    if (place.tabIndex < 0) place.tabIndex = -1;
    place.focus({ preventScroll: true });
  };
  window.addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const to = link && link.getAttribute("href");
    // A second click on the same link changes no address.
    if (to && to === location.hash) { event.preventDefault(); reveal(); }
  });
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = folds().filter((fold) => !fold.open && !fold.matches(".session, .calls"));
    opened.forEach((fold) => { fold.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((fold) => { fold.open = false; }));

  // Commands to copy.
  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* not allowed here: the old way */ }
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "hidden";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  all(".copy").forEach((place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const done = await copy(place.querySelector("code").textContent);
      button.textContent = done ? "Copied" : "Not allowed";
      say(done ? "The command was copied." : "The browser does not allow copying.");
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
      button.focus();
    });
    place.append(button);
  });

  // The evidence of a wait, where the pointer or the focus is: taken from its line in the dialogue.
  const tip = byId("tip");
  const hide = () => { tip.hidden = true; all("[aria-describedby='tip']").forEach((bar) => bar.removeAttribute("aria-describedby")); };
  const show = (bar) => {
    hide();
    const line = byId(bar.getAttribute("href").slice(1));
    const facts = line && line.querySelector(".facts");
    const name = document.createElement("b");
    name.textContent = bar.getAttribute("aria-label");
    tip.replaceChildren(name, ...(facts ? [facts.cloneNode(true)] : []));
    tip.hidden = false;
    bar.setAttribute("aria-describedby", "tip");
    const place = bar.getBoundingClientRect();
    const box = tip.getBoundingClientRect();
    const below = place.bottom + 8 + box.height < innerHeight;
    tip.style.left = Math.max(8, Math.min(Math.max(place.left, 8), innerWidth - box.width - 8)) + "px";
    tip.style.top = Math.max(8, below ? place.bottom + 8 : place.top - box.height - 8) + "px";
  };
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // Each timeline: one stop of the Tab key, the arrows inside, and a zoom.
  const MOST = 4000;
  all(".waterfall").forEach((area) => {
    const table = area.querySelector("table");
    const grid = area.querySelector(".axis g");
    const axis = area.querySelector(".axis");
    const bars = all(".bar", area);
    const total = Number(area.dataset.total) || 1;
    let zoom = 1;

    bars.forEach((bar, at) => {
      bar.tabIndex = at === 0 ? 0 : -1;
      bar.setAttribute("tabindex", at === 0 ? "0" : "-1");
      bar.addEventListener("mouseenter", () => show(bar));
      bar.addEventListener("mouseleave", hide);
      bar.addEventListener("focus", () => {
        bars.forEach((other) => other.setAttribute("tabindex", other === bar ? "0" : "-1"));
        bring(bar);
        show(bar);
      });
      bar.addEventListener("blur", hide);
    });
    area.addEventListener("scroll", hide);
    // Where the axis begins while nothing is scrolled: what stands before it stays.
    const head = () => axis.getBoundingClientRect().left - area.getBoundingClientRect().left + area.scrollLeft - 1;
    const bring = (bar) => {
      const view = area.getBoundingClientRect();
      const box = bar.getBoundingClientRect();
      const left = view.left + Math.min(head(), view.width / 2);
      if (box.left < left) area.scrollLeft -= left - box.left + 20;
      else if (box.right > view.right) area.scrollLeft += Math.min(box.right - view.right + 20, box.left - left - 20);
      bar.scrollIntoView({ block: "nearest", inline: "nearest" });
    };

    const label = (s, step) => {
      if (step >= 1) return s.toFixed(0) + " s";
      if (step >= 0.1) return s.toFixed(1) + " s";
      if (step >= 0.001) return (s * 1e3).toFixed(0) + " ms";
      return (s * 1e6).toFixed(0) + " µs";
    };
    const draw = () => {
      const width = axis.getBoundingClientRect().width || 1;
      const least = total / (width / 110);
      const power = 10 ** Math.floor(Math.log10(least));
      const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= least);
      const make = (name, attributes) => {
        const made = document.createElementNS("http://www.w3.org/2000/svg", name);
        Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
        return made;
      };
      // Only what is near the visible part: a far zoom has very many places.
      const from = Math.max(0, Math.floor((area.scrollLeft - width / zoom) / width * total / step));
      const to = Math.min(Math.floor(total / step), from + Math.ceil((3 * width / zoom) / width * total / step) + 40);
      const lines = [], texts = [];
      for (let n = from; n <= to; n += 1) {
        const at = (100 * n * step / total) + "%";
        lines.push(make("line", { x1: at, x2: at, y1: 0, y2: "100%" }));
        if (n * step < total * (1 - 0.02 / zoom)) {
          const text = make("text", { x: at, dx: 4, y: 13 });
          text.textContent = label(n * step, step);
          texts.push(text);
        }
      }
      grid.replaceChildren(...lines);
      all("text", axis).forEach((text) => text.remove());
      axis.prepend(...texts);
      bars.forEach((bar) => {
        const text = bar.querySelector("text");
        const box = bar.querySelector("svg > rect").getBoundingClientRect();
        // Of a bar that begins to the left of what is visible, the text stands where that begins.
        const hidden = Math.max(0, area.getBoundingClientRect().left + head() - box.left);
        text.setAttribute("x", 5 + hidden);
        text.classList.toggle("off", box.width - hidden < 40);
      });
    };
    const setZoom = (value, centre) => {
      const before = zoom;
      zoom = Math.min(MOST, Math.max(1, value));
      const fixed = head();
      const track = axis.getBoundingClientRect().width;
      const visible = area.clientWidth - fixed;
      const at = centre === undefined ? (area.scrollLeft + visible / 2) / track : centre;
      table.style.width = zoom === 1 ? "" : fixed + (area.clientWidth - fixed) * zoom + "px";
      if (zoom !== 1 || before !== 1) area.scrollLeft = at * axis.getBoundingClientRect().width - visible / 2;
      draw();
      say("Zoom " + (zoom < 10 ? zoom.toFixed(1) : zoom.toFixed(0)) + " times");
    };
    const zooms = { in: () => setZoom(zoom * 2), out: () => setZoom(zoom / 2), fit: () => setZoom(1) };
    all("[data-zoom]", area.parentElement).forEach((button) => button.addEventListener("click", () => zooms[button.dataset.zoom]()));
    all("tbody tr", area).forEach((row) => row.addEventListener("dblclick", () => {
      const boxes = all(".span, .bar rect", row).map((it) => it.getBoundingClientRect());
      const track = axis.getBoundingClientRect();
      if (!boxes.length) return;
      const left = Math.min(...boxes.map((box) => box.left)), right = Math.max(...boxes.map((box) => box.right));
      const part = Math.max((right - left) / track.width, 1e-6);
      setZoom(0.8 / part, ((left + right) / 2 - track.left) / track.width);
    }));
    let drawn = 0;
    area.addEventListener("scroll", () => {
      cancelAnimationFrame(drawn);
      if (zoom > 1) drawn = requestAnimationFrame(draw);
    });
    area.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const track = axis.getBoundingClientRect();
      setZoom(zoom * (event.deltaY < 0 ? 1.3 : 1 / 1.3), (event.clientX - track.left) / track.width);
    }, { passive: false });
    area.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = { "+": zooms.in, "=": zooms.in, "-": zooms.out, "0": zooms.fit };
      if (keys[event.key]) { event.preventDefault(); keys[event.key](); return; }
      const at = bars.indexOf(document.activeElement);
      if (at < 0) return;
      const row = (bar) => bar.closest("tr");
      const other = {
        ArrowRight: () => bars[at + 1],
        ArrowLeft: () => bars[at - 1],
        ArrowDown: () => bars.slice(at).find((bar) => row(bar) !== row(bars[at])),
        ArrowUp: () => bars.slice(0, at).reverse().find((bar) => row(bar) !== row(bars[at])),
        Home: () => bars[0],
        End: () => bars[bars.length - 1],
      }[event.key];
      if (!other) return;
      event.preventDefault();
      const next = other();
      if (next) next.focus();
    });
    // Inside a closed fold nothing has a size yet.
    const fold = area.closest("details.session");
    if (fold) fold.addEventListener("toggle", draw);
    window.addEventListener("resize", () => { if (zoom === 1) draw(); });
    if (axis.getBoundingClientRect().width) draw();
  });

  // The list of sessions: sort by a column, filter by what stands in it.
  const list = byId("list");
  if (list) {
    const body = list.tBodies[0];
    const rows = [...body.rows];
    const heads = [...list.tHead.rows[0].cells];
    const grave = ["none", "intended", "low", "medium", "high"];
    const read = {
      num: (row, at) => Number(row.cells[at].textContent),
      last: (row, at) => Number(row.cells[at].textContent.split(" ").pop()) || 0,
      severity: (row) => grave.indexOf(row.dataset.severity),
    };
    heads.forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const value = read[head.dataset.sort] || ((row) => row.cells[at].textContent);
        const first = head.dataset.sort ? "descending" : "ascending";
        const now = head.getAttribute("aria-sort");
        const order = now ? (now === "ascending" ? "descending" : "ascending") : first;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const values = new Map(rows.map((row) => [row, value(row, at)]));
        const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
        rows.sort((a, b) => sign * compare(values.get(a), values.get(b)));
        body.append(...rows);
        say("Sorted by " + button.textContent + ", " + order);
      });
    });
    const text = byId("filter-text"), severity = byId("filter-severity"), least = byId("filter-least"), count = byId("filter-count");
    const filter = () => {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row) => {
        const has = row.textContent.toLowerCase();
        const fits = words.every((word) => has.includes(word))
          && (!severity.value || row.dataset.severity === severity.value)
          && read.num(row, 3) >= (Number(least.value) || 0);
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      count.value = shown === rows.length ? rows.length + " sessions" : shown + " of " + rows.length + " sessions";
    };
    [text, severity, least].forEach((field) => field.addEventListener("input", filter));
    filter();
  }
  if (location.hash) reveal();
})();
