/* A dark page takes the colours of a light one while it is printed: they were chosen for paper, pictures and code too. */
(() => {
  const page = document.documentElement;
  let dark = false;
  window.addEventListener("beforeprint", () => {
    dark = page.dataset.theme === "dark";
    if (dark) page.dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => { if (dark) page.dataset.theme = "dark"; });
})();
