// What makes the pages better where scripts run; without it they do the same by being loaded again.
"use strict";

// A button behind every text that is there to be copied.
for (const source of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    const heading = source.tagName === "PRE" ? source.previousElementSibling : null;
    button.setAttribute("aria-label", "Copy " + (heading ? "the lines for " + heading.textContent : source.textContent));
    button.addEventListener("click", async () => {
        try {
            await navigator.clipboard.writeText(source.textContent);
            button.textContent = "Copied";
        } catch {
            // Browsers lend the clipboard to secure pages only: the text is selected instead.
            getSelection().selectAllChildren(source);
            button.textContent = "Selected";
        }
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    if (heading) heading.after(button);
    else source.after(button);
}

// A cook as it goes. What came of it the server says: the page is loaded again.
const coming = document.querySelector("[data-events]");
if (coming) {
    const words = coming.querySelector("[data-words]");
    const bar = coming.querySelector("progress");
    const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    const amount = (number, unit) => {
        if (unit !== "bytes") return number + " " + unit;
        let at = 0;
        while (number >= 1024 && at + 1 < units.length) { number /= 1024; at += 1; }
        return (at > 0 && number < 10 ? number.toFixed(1) : Math.floor(number)) + " " + units[at];
    };
    const events = new EventSource(coming.dataset.events);
    events.onmessage = (event) => {
        const body = JSON.parse(event.data);
        if (body.status === "done" || body.status === "failed") {
            events.close();
            location.reload();
        } else if (body.progress) {
            const { message, done, total, unit } = body.progress;
            if (total) { bar.max = total; bar.value = done; }
            words.textContent = message + ": " + amount(done, unit) + (total ? " of " + amount(total, unit) : "");
        }
    };
    // A stream that does not come at all: as without a script.
    events.onerror = () => {
        if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
    };
}

// Something follows in a moment.
if (document.querySelector("[data-again]")) setTimeout(() => location.reload(), 2000);
