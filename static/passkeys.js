// Passkeys: asks the browser what the form's data-passkey-options say, puts the answer into the form and sends it.
//
//   data-passkey="create"     make a new passkey; "get": show that one is here
//   data-passkey-options      what to ask, as JSON (WebAuthn Level 3, section 5.1.10)
(() => {
  "use strict";

  const bytes = (text) => {
    const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(plain, (character) => character.charCodeAt(0));
  };
  const text = (buffer) => {
    const plain = String.fromCharCode(...new Uint8Array(buffer));
    return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  };
  const described = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

  // Not every browser has parseCreationOptionsFromJSON() and toJSON() yet.
  const ASK = {
    create: (options) => navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: bytes(options.challenge),
        user: { ...options.user, id: bytes(options.user.id) },
        excludeCredentials: described(options.excludeCredentials),
      },
    }),
    get: (options) => navigator.credentials.get({
      publicKey: {
        ...options, challenge: bytes(options.challenge), allowCredentials: described(options.allowCredentials),
      },
    }),
  };

  function answer(credential) {
    const response = { clientDataJSON: text(credential.response.clientDataJSON) };
    for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[name]) response[name] = text(credential.response[name]);
    }
    return JSON.stringify({
      id: credential.id, rawId: text(credential.rawId), type: credential.type, response,
      clientExtensionResults: credential.getClientExtensionResults(),
    });
  }

  // What browsers say is for programmers; these are the names of their errors.
  const PROBLEMS = {
    InvalidStateError: "This device already holds a passkey of yours.",
    NotAllowedError: "Nothing came of it: it was canceled, or took too long. Try again.",
    SecurityError: "Your browser takes passkeys only at the panel’s own address. Open the panel there.",
  };

  async function start(form) {
    const problem = form.querySelector("[data-passkey-problem]");
    problem.hidden = true;
    try {
      const credential = await ASK[form.dataset.passkey](JSON.parse(form.dataset.passkeyOptions));
      form.elements.credential.value = answer(credential);
    } catch (error) {
      problem.textContent = PROBLEMS[error.name] || "Your browser could not do that. Use another way.";
      problem.hidden = false;
      return;
    }
    form.submit();
  }

  // A press before this script is there would be lost, so the buttons come switched off.
  for (const button of document.querySelectorAll("[data-passkey-start]")) {
    button.disabled = false;
    if (document.activeElement === document.body) button.focus();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-passkey-start]");
    if (button) start(button.form);
  });
})();
