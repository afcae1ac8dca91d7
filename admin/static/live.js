// Keeps the part of a page that is still happening up to date: it fetches the page again and swaps
// #live in. What the reader opened stays open.
"use strict";

const refresh = async () => {
  const old = document.getElementById("live");
  if (!old || !old.dataset.refreshMs) return;
  let delay = Number(old.dataset.refreshMs);
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected) return location.reload(); // signed out
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = page.getElementById("live");
      if (next && next.innerHTML !== shown) {
        shown = next.innerHTML;
        for (const open of old.querySelectorAll("details[open][id]")) {
          next.querySelector(`#${open.id}`)?.setAttribute("open", "");
        }
        old.replaceWith(document.adoptNode(next));
      }
    }
  } catch {
    delay *= 3; // unreachable for now: be patient
  }
  setTimeout(refresh, delay);
};

let shown = document.getElementById("live")?.innerHTML;
setTimeout(refresh, Number(document.getElementById("live")?.dataset.refreshMs || 0));
