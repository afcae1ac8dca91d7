// The player: a click on a turn seeks, and what is being played is marked.
"use strict";

const player = () => document.getElementById("player");

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-seek]");
  const audio = player();
  if (!target || !audio) return;
  audio.currentTime = Number(target.dataset.seek);
  audio.play();
});

// Media events do not bubble, so they are caught on their way down.
document.addEventListener("timeupdate", () => {
  const audio = player();
  const track = document.querySelector(".track svg[data-length]");
  if (!track) return;
  const share = Math.min(100, (100 * audio.currentTime) / Number(track.dataset.length));
  const head = track.querySelector(".head");
  head.setAttribute("x1", `${share}%`);
  head.setAttribute("x2", `${share}%`);
  let current = null;
  for (const block of track.querySelectorAll("[data-turn]")) {
    if (Number(block.dataset.seek) <= audio.currentTime + 0.05) current = block.dataset.turn;
  }
  for (const turn of document.querySelectorAll(".turn")) {
    turn.classList.toggle("playing", turn.dataset.turn === current);
  }
}, true);
