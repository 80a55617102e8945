// The behaviour of the pages. Every page works without it; it makes them quicker to use. One listener per event sits on
// the document and looks for data- attributes, so that fragments which arrive later need no wiring of their own.
//
//   data-theme="dark"             choose a theme
//   data-copy="text"              copy the text
//   data-reveal="#password"       show what is typed into a password field
//   data-dismiss-message          close the message around it
//   data-confirm="Remove it?"     ask first; data-confirm-body and data-confirm-yes refine the question
//   data-preset='{"port": 587}'   (on an option or a radio) fill the fields of these names
//   data-shown-for="gmail other"  show while data-shown-by="#select" (default: the preset) has one of these values
//   data-insert-tag="{{ x }}"     put the text at the caret of one of data-insert-into="#subject, #body"
//   data-dirty-check              (on a form) warn before leaving with unsaved changes; "ownpost:saved" says they are saved
//   data-switch                   (on a form) a switch that saves at once, and goes back if it could not
//   data-open                     (on a dialog that htmx put into the page) open it, over the page
//   data-leaves-page              (on a form) it takes the page with it on purpose, with whatever else is typed there
//   data-live-task                a running task; data-cancel-url is told when the page is left for another
(() => {
  "use strict";

  const on = (event, handler, options) => document.addEventListener(event, handler, options);
  const find = (selector, within = document) => within.querySelector(selector);
  const UNREACHED = "We could not reach Ownpost. Check your connection and try again.";
  const csrfToken = () => JSON.parse(document.body.getAttribute("hx-headers:inherited"))["X-CSRFToken"];

  // ---- Messages -------------------------------------------------------------------------------------------------

  function say(text) {
    const message = find("#message-template").content.cloneNode(true);
    find("[data-message-text]", message).textContent = text;
    find("#messages").replaceChildren(message);
  }

  // The server words its refusals as plain text; anything else comes from a proxy and is not for the reader.
  function sayRefusal(ctx) {
    const worded = ctx.response.headers.get("Content-Type")?.startsWith("text/plain");
    say(worded ? ctx.text.trim() : "Something went wrong on our side. Try again in a moment.");
  }

  // ---- Sign-ins that end while somebody types -------------------------------------------------------------------

  // Nothing that is typed leaves the page before it is certain that the server will take it: a sign-in ends after a day
  // at the latest, whatever its owner is writing, and pages are in no cache that could bring the words back.
  const ENDED = "Your sign-in has ended, so nothing was changed. What you typed is still here: sign in again in another "
    + "tab, come back, and press the button once more.";

  const ANOTHER = "This browser is signed in as somebody else by now, so nothing was changed. What you typed is still here: "
    + "sign in as yourself in another tab, come back, and press the button once more.";

  let ended = false;

  function sayEnded(who) {
    ended = true;
    say(who === "another" ? ANOTHER : ENDED);
    if (who === "another") return;
    const link = Object.assign(document.createElement("a"), { href: "/login", target: "_blank", textContent: "Sign in" });
    find("#messages [data-message-text]").append(" ", link);
  }

  // Whose the sign-in of this browser is: "ours", by now perhaps another one from another tab, "another" or "nobody".
  // The forms get the token of ours alone: what somebody typed is not sent in the name of somebody else.
  async function whoIsHere() {
    const answer = await fetch("/login/state", { headers: { Accept: "application/json" } });
    const { person, csrf } = await answer.json();
    if (person !== (document.body.dataset.person ?? "")) return person ? "another" : "nobody";
    document.body.setAttribute("hx-headers:inherited", JSON.stringify({ "X-CSRFToken": csrf }));
    for (const input of document.querySelectorAll("input[name=csrf_token]")) input.value = csrf;
    return "ours";
  }

  const sending = new WeakSet();

  async function sendIfSignedIn(form, submitter) {
    try {
      const who = await whoIsHere();
      if (who !== "ours") { sayEnded(who); return; }
    } catch {
      say(UNREACHED);
      return;
    }
    sending.add(form);
    form.requestSubmit(submitter);
  }

  on("submit", (event) => {
    const form = event.target;
    if (!form.matches("form[data-dirty-check]:not([hx-post])") || sending.delete(form)) return;
    event.preventDefault();
    sendIfSignedIn(form, event.submitter);
  }, { capture: true });

  // htmx would leave for the sign-in form.
  function maySayEnded(ctx) {
    if (ctx.response.status !== 400 && !(ctx.response.status === 401 && anyDirty())) return false;
    delete ctx.hx.redirect;
    ctx.swap = "none";
    whoIsHere().then((who) => {
      if (who === "ours") sayRefusal(ctx);
      else sayEnded(who);
    }, () => say(UNREACHED));
    return true;
  }

  // Whoever comes back from the other tab goes on with its sign-in.
  addEventListener("focus", async () => {
    if (!ended) return;
    try { ended = await whoIsHere() !== "ours"; } catch { return; }
    if (!ended) find("#messages").replaceChildren();
  });

  // ---- Theme ----------------------------------------------------------------------------------------------------

  function chooseTheme(button) {
    try { localStorage.setItem("theme", button.dataset.theme); } catch { return; }
    document.dispatchEvent(new Event("ownpost:theme"));
    showTheme();
  }

  function showTheme() {
    for (const button of document.querySelectorAll("[data-theme]")) {
      button.setAttribute("aria-pressed", button.dataset.theme === document.documentElement.dataset.themeChoice);
    }
  }

  // ---- Small buttons --------------------------------------------------------------------------------------------

  async function copy(button) {
    const words = find("[data-copy-text]", button);
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      // The clipboard needs https or localhost, and may be refused.
      say("Your browser did not let us copy. Select the text and copy it by hand.");
      return;
    }
    if (!words) return;
    words.textContent = "Copied";
    setTimeout(() => { words.textContent = "Copy"; }, 2000);
  }

  function reveal(button) {
    const input = find(button.dataset.reveal);
    const shown = input.type === "text";
    input.type = shown ? "password" : "text";
    button.setAttribute("aria-pressed", !shown);
  }

  // ---- "Are you sure?" ------------------------------------------------------------------------------------------

  // The click is caught before htmx or the form sees it, and given again once the answer is yes.
  const confirmed = new WeakSet();

  function ask(event, asking) {
    if (confirmed.delete(asking)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const dialog = find("#confirm");
    find("#confirm-title").textContent = asking.dataset.confirm;
    find("#confirm-body").textContent = asking.dataset.confirmBody || "";
    find("#confirm-yes").textContent = asking.dataset.confirmYes || asking.textContent.trim();
    dialog.returnValue = "cancel";
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "confirm") return;
      // A stream may have put another in its place meanwhile.
      const button = asking.isConnected
        ? asking : [...document.querySelectorAll("[data-confirm]")].find((other) => other.isEqualNode(asking));
      if (!button) return;
      confirmed.add(button);
      button.click();
    }, { once: true });
    dialog.showModal();
  }

  on("click", (event) => {
    const asking = event.target.closest?.("[data-confirm]");
    if (asking) ask(event, asking);
  }, { capture: true });

  // ---- Presets --------------------------------------------------------------------------------------------------

  function fillFrom(chooser) {
    const choice = chooser.matches("select") ? chooser.selectedOptions[0] : chooser;
    const fields = Object.entries(JSON.parse(choice.dataset.preset))
      .map(([name, value]) => [chooser.form.elements[name], value])
      .filter(([input]) => input);
    for (const [input, value] of fields) input.value = value;
    // Whoever watches a field (its check, the dirty mark) sees it as if it had been typed, and the others filled, too.
    for (const [input] of fields) {
      for (const type of ["input", "change"]) input.dispatchEvent?.(new Event(type, { bubbles: true }));
    }
  }

  function showHints(chooser) {
    for (const hint of document.querySelectorAll("[data-shown-for]")) {
      const by = hint.dataset.shownBy;
      if (by ? chooser.matches(by) : isPreset(chooser)) {
        hint.hidden = !hint.dataset.shownFor.split(" ").includes(chooser.value);
      }
    }
  }

  const isPreset = (input) => input.matches("input[data-preset], select:has(option[data-preset])");

  function choose(input) {
    if (input.matches("input[data-preset]") || input.selectedOptions?.[0]?.dataset.preset) fillFrom(input);
    showHints(input);
  }

  // ---- Merge tags -----------------------------------------------------------------------------------------------

  let lastTyped = null;

  function insertTag(button) {
    const fields = [...document.querySelectorAll(button.closest("[data-insert-into]").dataset.insertInto)];
    const field = fields.includes(lastTyped) ? lastTyped : fields.at(-1);
    field.focus();
    field.setRangeText(button.dataset.insertTag, field.selectionStart, field.selectionEnd, "end");
    for (const type of ["input", "change"]) field.dispatchEvent(new Event(type, { bubbles: true }));
  }

  // ---- Unsaved changes ------------------------------------------------------------------------------------------

  const asSaved = new WeakMap();
  // Its token is nothing that anybody typed, and becomes another when the sign-in is looked at.
  const isTyped = ([name, value]) => typeof value === "string" && name !== "csrf_token";
  const contents = (form) => JSON.stringify([...new FormData(form)].filter(isTyped));
  const remember = (form) => asSaved.set(form, contents(form));
  const isDirty = (form) => asSaved.has(form) && asSaved.get(form) !== contents(form);

  const anyDirty = () => [...document.querySelectorAll("form[data-dirty-check]")].some(isDirty);

  addEventListener("beforeunload", (event) => { if (anyDirty()) event.preventDefault(); });

  // A form that came back with errors holds what nobody has saved, so it is unlike anything saved from the start.
  function watch(form) {
    if (asSaved.has(form)) return;
    if (find("[aria-invalid=true]", form)) asSaved.set(form, "");
    else remember(form);
  }

  const watchForms = () => document.querySelectorAll("form[data-dirty-check]").forEach(watch);

  // A form that is sent the plain way leaves the page on purpose; one that htmx sends stays, and says when it is saved.
  on("submit", (event) => {
    if (event.defaultPrevented || event.submitter?.formMethod === "dialog") return;
    const leaving = event.target.matches("[data-leaves-page]") ? document.querySelectorAll("form") : [event.target];
    leaving.forEach((form) => asSaved.delete(form));
  });
  on("ownpost:saved", () => document.querySelectorAll("form[data-dirty-check]").forEach(remember));

  // ---- Live tasks -----------------------------------------------------------------------------------------------

  // `pagehide` comes when the page is left, closed or reloaded, and not when its tab is merely hidden. Nothing in a browser
  // tells a reload from a farewell, so the server hears `left`: a task that a reloaded page takes up again may go on.
  addEventListener("pagehide", () => {
    for (const task of document.querySelectorAll("[data-live-task][data-cancel-url]:not([data-result])")) {
      const form = new FormData();
      form.set("csrf_token", csrfToken());
      form.set("left", "1");
      navigator.sendBeacon(task.dataset.cancelUrl, form);
    }
  });

  // The line of a task that is over stays shut, whatever timer or broken connection would open it again.
  for (const name of ["htmx:before:request", "htmx:sse:before:connection"]) {
    on(name, (event) => {
      const line = event.target;
      if (line.matches?.(".live-line") && find("[data-result]", line)) event.preventDefault();
    });
  }

  // ---- Answers of htmx ------------------------------------------------------------------------------------------

  // A 422 is a form that comes back with its errors and is swapped in; any other failure would put an error page into
  // the middle of this one. An element that wants it nevertheless says so with hx-status or HX-Reswap.
  on("htmx:response:error", ({ detail: { ctx } }) => {
    undoSwitch(ctx.sourceElement);
    if (maySayEnded(ctx) || ctx.response.status === 422 || ctx.hx.redirect) return;
    ctx.swap = "none";
    if (ctx.sourceElement.matches(".live-line")) return;
    sayRefusal(ctx);
  });

  on("htmx:error", ({ detail: { ctx } }) => {
    if (!ctx) return;
    undoSwitch(ctx.sourceElement);
    if (!ctx.sourceElement.matches(".live-line")) say(UNREACHED);
  });

  // A switch's default state is the saved one: success moves it, failure goes back to it.
  const switchIn = (form) => form.matches("form[data-switch]") && find("input[type=checkbox]", form);

  function undoSwitch(form) {
    const box = switchIn(form);
    if (box) box.checked = box.defaultChecked;
  }

  on("htmx:after:request", ({ detail: { ctx } }) => {
    const box = switchIn(ctx.sourceElement);
    if (box && ctx.response.status < 400) box.defaultChecked = box.checked;
  });

  // A form that came back with errors puts the reader at the first of them.
  on("htmx:after:swap", ({ detail: { ctx } }) => {
    if (ctx.sourceElement.matches?.("form")) focusFirstError();
    watchForms();
    find("dialog[data-open]:not([open])")?.showModal();
  });

  function focusFirstError() {
    find("[aria-invalid=true]")?.focus();
  }

  // ---- Wiring ---------------------------------------------------------------------------------------------------

  const CLICKS = {
    "[data-theme]": chooseTheme,
    "[data-copy]": copy,
    "[data-reveal]": reveal,
    "[data-insert-tag]": insertTag,
    "[data-dismiss-message]": (button) => button.closest("[data-message]").remove(),
  };

  on("click", (event) => {
    for (const [selector, act] of Object.entries(CLICKS)) {
      const found = event.target.closest?.(selector);
      if (found) act(found);
    }
  });
  on("change", (event) => { if (event.target.form) choose(event.target); });
  on("focusin", (event) => { if (event.target.matches("input, textarea")) lastTyped = event.target; });

  on("DOMContentLoaded", () => {
    showTheme();
    focusFirstError();
    watchForms();
  });
})();
