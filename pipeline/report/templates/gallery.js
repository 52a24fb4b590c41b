"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// A picture's data are in the page once; wherever it comes again, a copy takes its placeholder's place. (An <img> that
// gets its src later, while its section is skipped, stays without a size in Chromium.)
for (const place of all("[data-as]")) {
  const copy = document.getElementById(place.dataset.as).cloneNode();
  copy.removeAttribute("id");
  copy.alt = place.dataset.alt;
  place.replaceWith(copy);
}

// Dividers. The range input is what keyboards and screen readers use; pointers move it from anywhere on the picture,
// since phones would only let them drag its thumb.
function divide(slider, percent) {
  slider.style.setProperty("--p", percent + "%");
  const input = slider.querySelector("input");
  input.value = percent;
  input.setAttribute("aria-valuetext", Math.round(percent) + " % LQ");
}
for (const slider of all(".slider")) {
  const input = slider.querySelector("input");
  const follow = event => {
    const box = slider.getBoundingClientRect();
    divide(slider, Math.min(100, Math.max(0, 100 * (event.clientX - box.left) / box.width)));
  };
  slider.addEventListener("pointerdown", event => {
    if (event.button) return;
    event.preventDefault();
    slider.setPointerCapture(event.pointerId);
    slider.classList.add("held");  // whoever points at it needs no ring around it
    input.focus({ preventScroll: true });
    follow(event);
  });
  slider.addEventListener("pointermove", event => { if (slider.hasPointerCapture(event.pointerId)) follow(event); });
  input.addEventListener("input", () => divide(slider, +input.value));
  input.addEventListener("keydown", () => slider.classList.remove("held"));
}

// At what scale a picture is shown; where it is scaled down, its busiest part is added at its own pixels.
const measure = new ResizeObserver(entries => {
  for (const { target } of entries) {
    const card = target.closest(".sample"), image = target.querySelector("img");
    const scale = target.clientWidth / image.getAttribute("width");
    if (!scale) continue;
    card.querySelector(".scale span").textContent = scale > .995 ? "shown at 1:1" : "shown at " + Math.round(100 * scale) + " %, detail at 1:1";
    card.querySelector(".open").textContent = scale > .995 ? "enlarge" : "view at 1:1";
    const detail = card.querySelector(".detail");
    detail.hidden = scale > .995;
    if (detail.hidden) continue;
    for (const part of all("img", detail)) {
      const start = (middle, room, size) => -Math.round(Math.min(Math.max(middle - room / 2, 0), Math.max(size - room, 0)));
      part.style.objectPosition =
        start(+detail.dataset.x, part.clientWidth, +image.getAttribute("width")) + "px " +
        start(+detail.dataset.y, part.clientHeight, +image.getAttribute("height")) + "px";
    }
  }
});
for (const slider of all(".slider")) measure.observe(slider);

// Filters, kept in the address so that a view can be sent on.
const wanted = { degradation: "", split: "", severity: "", words: "" };
const field = document.querySelector(".filters input"), nothing = document.querySelector(".nothing");
const told = new Map(all(".sample").map(card => [card, (card.textContent + " " + card.closest(".photograph").querySelector("h3").textContent +
  " " + card.closest(".photograph").querySelector(".facts").textContent).toLowerCase()]));
function filter() {
  let count = 0;
  const words = wanted.words.toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of all(".photograph")) {
    let any = false;
    for (const card of all(".sample", group)) {
      card.hidden = ["degradation", "split", "severity"].some(name => wanted[name] && card.dataset[name] !== wanted[name])
        || words.some(word => !told.get(card).includes(word));
      if (!card.hidden) { any = true; count += 1; }
    }
    group.hidden = !any;
  }
  for (const button of all("[data-filter]")) button.setAttribute("aria-pressed", button.dataset.value === wanted[button.dataset.filter]);
  nothing.hidden = count > 0;
  document.querySelector(".filters output").textContent = count === 1 ? "1 sample" : count + " samples";
}
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (location.hash && !Object.keys(wanted).some(name => given.has(name))) {
    filter();
    const card = all(".sample").find(one => one.id === location.hash.slice(1));
    if (card && card.matches(".sample")) show(card);
    return;
  }
  for (const name of ["degradation", "split", "severity"]) {
    const value = given.get(name) || "";
    wanted[name] = all("[data-filter=" + name + "]").some(button => button.dataset.value === value) ? value : "";
  }
  field.value = wanted.words = given.get("words") || "";
  filter();
}
function want(name, value) {
  wanted[name] = value;
  const kept = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value)).toString();
  history.replaceState(null, "", kept ? "#" + kept : location.pathname + location.search);
  filter();
  const bar = document.querySelector(".filters");
  if (bar.getBoundingClientRect().top <= 0) document.getElementById("samples").scrollIntoView();
}
for (const button of all("[data-filter]")) button.addEventListener("click", () => want(button.dataset.filter, button.dataset.value));
field.addEventListener("input", () => want("words", field.value.trim()));
nothing.querySelector("button").addEventListener("click", () => {
  field.value = "";
  for (const name of Object.keys(wanted)) want(name, "");
});

// One sample after another, by keys and by links. A card whose filters hide it is shown by leaving them.
function show(card) {
  if (card.hidden) {
    field.value = "";
    for (const name of Object.keys(wanted)) wanted[name] = "";
    filter();
  }
  for (const other of all(".sample.chosen")) other.classList.remove("chosen");
  card.classList.add("chosen");
  card.scrollIntoView({ block: "nearest" });
  card.querySelector(".slider input").focus({ preventScroll: true });
}
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || viewer.open || event.target === field) return;
  if (event.key === "/") { event.preventDefault(); return field.focus(); }
  const cards = all(".sample").filter(card => !card.hidden), at = cards.findIndex(card => card.matches(".chosen"));
  if (event.key === "Enter" && at >= 0 && event.target.matches(".slider input, body")) return cards[at].querySelector(".open").click();
  const step = { j: 1, k: -1 }[event.key];
  if (step && cards.length) show(cards[Math.min(Math.max(at + step, 0), cards.length - 1)]);
});
addEventListener("hashchange", readAddress);

// The viewer: a picture at its own pixels or larger. The divider stays in the part of it that can be seen.
const viewer = document.querySelector(".viewer"), stage = viewer.querySelector(".stage"), canvas = viewer.querySelector(".canvas");
const divider = viewer.querySelector("input");
let size = [0, 0];
function place() {
  const box = canvas.getBoundingClientRect(), room = stage.getBoundingClientRect();
  const left = Math.max(box.left, room.left), right = Math.min(box.right, room.left + stage.clientWidth);
  canvas.style.setProperty("--p", left - box.left + (right - left) * divider.value / 100 + "px");
}
function zoom(factor) {
  const old = canvas.clientWidth || 1, x = stage.scrollLeft + stage.clientWidth / 2, y = stage.scrollTop + stage.clientHeight / 2;
  canvas.style.width = size[0] * factor + "px";
  canvas.style.height = size[1] * factor + "px";
  const by = size[0] * factor / old;
  stage.scrollTo(x * by - stage.clientWidth / 2, y * by - stage.clientHeight / 2);
  for (const button of all("[data-zoom]")) button.setAttribute("aria-pressed", +button.dataset.zoom === factor);
  place();
}
function view(title, under, over, factor) {
  document.getElementById("viewed").textContent = title;
  canvas.replaceChildren(under.cloneNode());
  divider.parentElement.hidden = !over;
  if (over) {
    const layer = document.createElement("div");
    layer.className = "over";
    layer.append(over.cloneNode());
    canvas.append(layer, document.createElement("i"));
  }
  for (const image of all("img", canvas)) image.removeAttribute("id");
  size = [+under.getAttribute("width"), +under.getAttribute("height")];
  divider.value = 50;
  viewer.showModal();
  zoom(factor);
}
for (const button of all(".open")) button.addEventListener("click", () => {
  const slider = button.closest(".sample").querySelector(".slider");
  view(slider.dataset.what, slider.querySelector("img"), slider.querySelector(".over img"), button.textContent === "enlarge" ? 2 : 1);
});
// A truth map lies over the picture until it is clicked again; one that is no part of the image, a kernel, is viewed.
for (const button of all(".map")) button.addEventListener("click", () => {
  const image = button.querySelector("img"), slider = button.closest(".sample").querySelector(".slider");
  if (button.dataset.name.includes("kernel")) return view(image.alt, image, null, 1);
  const on = button.getAttribute("aria-pressed") !== "true";
  for (const other of all(".map", button.closest(".maps"))) other.setAttribute("aria-pressed", on && other === button);
  slider.querySelector(".laid")?.remove();
  if (!on) return;
  const laid = image.cloneNode();
  laid.className = "laid";
  laid.alt = "";
  slider.insertBefore(laid, slider.querySelector("i"));
});
for (const button of all("[data-zoom]")) button.addEventListener("click", () => zoom(+button.dataset.zoom));
viewer.querySelector(".close").addEventListener("click", () => viewer.close());
divider.addEventListener("input", place);
stage.addEventListener("scroll", place);
addEventListener("resize", () => { if (viewer.open) place(); });
canvas.addEventListener("pointermove", event => {
  if (event.pointerType !== "mouse" || !(event.buttons & 1)) return;
  const box = canvas.getBoundingClientRect(), room = stage.getBoundingClientRect();
  const left = Math.max(box.left, room.left), right = Math.min(box.right, room.left + stage.clientWidth);
  divider.value = 100 * (event.clientX - left) / (right - left);
  place();
});
canvas.addEventListener("dragstart", event => event.preventDefault());
readAddress();
