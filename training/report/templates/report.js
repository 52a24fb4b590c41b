"use strict";
// A table is copied as a selection of it would be: as a table for documents, with tabs for spreadsheets.
for (const place of document.querySelectorAll(".scroll")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "copy";
  button.setAttribute("aria-label", "copy the table: " + place.getAttribute("aria-label"));
  button.addEventListener("click", () => {
    const selection = getSelection();
    selection.removeAllRanges();
    const range = document.createRange();
    range.selectNode(place.querySelector("table"));
    selection.addRange(range);
    button.textContent = document.execCommand("copy") ? "copied" : "press Ctrl-C";
    if (button.textContent === "copied") selection.removeAllRanges();
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  place.before(button);
}
