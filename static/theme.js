// Sets the theme before the first paint, so that a dark page never flashes white. It is loaded by the head, undeferred,
// and holds nothing else; the buttons that choose a theme are in app.js.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  // Storage throws where the browser forbids it; the page then follows the system.
  const chosen = () => {
    try { return localStorage.getItem("theme") || "auto"; } catch { return "auto"; }
  };

  const apply = () => {
    const theme = chosen();
    const dark = theme === "dark" || (theme === "auto" && system.matches);
    root.dataset.bsTheme = dark ? "dark" : "light";
    root.dataset.themeChoice = theme;
  };

  // What only works with JavaScript is hidden by CSS until this class is there.
  root.classList.add("js");
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("ownpost:theme", apply);
})();
