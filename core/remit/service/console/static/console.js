// Follows the audit log: fetches the page anew every few seconds and takes the records out of it.
// Everything else works without this file.
// And on a narrow screen it moves a graph so that the token in question is in sight.
(() => {
  "use strict";
  for (const node of document.querySelectorAll(".canvas .focus")) {
    const canvas = node.closest(".canvas");
    const box = node.getBoundingClientRect();
    const frame = canvas.getBoundingClientRect();
    canvas.scrollLeft += box.left - frame.left - (frame.width - box.width) / 2;
    canvas.scrollTop += box.top - frame.top - (frame.height - box.height) / 2;
  }

  const EVERY = 5000;
  const button = document.getElementById("follow");
  const records = document.getElementById("records");
  if (!button || !records || records.dataset.first !== "yes") return;

  const status = document.getElementById("followed");
  let timer = 0;

  const ask = () =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("GET", location.href);
      request.responseType = "document"; // parsed, and no script in it is run
      request.timeout = 10000;
      request.onload = () => {
        const found = request.status === 200 ? request.response.getElementById("records") : null;
        if (found) resolve(found);
        else reject(new Error("no records"));
      };
      request.onerror = request.ontimeout = () => reject(new Error("no answer"));
      request.send();
    });

  // What somebody has opened, or stands on, is not taken away from under them.
  const isInUse = () =>
    records.querySelector("details[open]") !== null || records.contains(document.activeElement);

  const update = async () => {
    if (!document.hidden && !isInUse()) {
      try {
        const found = await ask();
        if (timer === 0) return;
        const text = found.textContent !== records.textContent;
        if (text) records.replaceChildren(...document.importNode(found, true).childNodes);
        status.textContent = "";
      } catch {
        stop();
        status.textContent = "Stopped: the service did not answer, or you are signed out.";
        return;
      }
    }
    timer = setTimeout(update, EVERY);
  };

  const start = () => {
    button.setAttribute("aria-pressed", "true");
    button.textContent = "Pause";
    status.textContent = "";
    timer = setTimeout(update, 0);
  };

  const stop = () => {
    clearTimeout(timer);
    timer = 0;
    button.setAttribute("aria-pressed", "false");
    button.textContent = "Follow";
  };

  button.addEventListener("click", () => (timer === 0 ? start() : stop()));
  button.parentElement.hidden = false;
})();
