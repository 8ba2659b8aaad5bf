/* Starts a deck: reveal.js, formulas, and one thing more: what a slide shows is scaled to the room there is for it. */
(() => {
  const LARGEST = { explorable: 1.9, image: 4, markdown: 1.5, math: 1.6, code: 1.25, source: 1.25, text: 1.35 };

  // a slide is 1280 by 720 in its own pixels; reveal.js scales it to the screen
  Reveal.initialize({
    width: 1280, height: 720, margin: 0.02, center: false, hash: true, slideNumber: "c/t", transition: "none",
    backgroundTransition: "none", navigationMode: "linear", pdfSeparateFragments: false, controlsTutorial: false,
    mathjax3: { mathjax: window.mathjaxSource, options: { enableMenu: false } },
    plugins: [RevealNotes, RevealMath.MathJax3, RevealSearch, RevealZoom],
    keyboard: { 68: () => toggleTheme() },
  });

  function toggleTheme() {
    const page = document.documentElement;
    page.dataset.theme = page.dataset.theme === "dark" ? "light" : "dark";
  }

  function fit(stage) {
    const shown = stage.firstElementChild;
    const width = shown.offsetWidth, height = shown.offsetHeight; // both without the scale
    if (!width || !height || !stage.clientHeight) return;
    const kind = stage.closest("section").className.replace(/.*shows-(\w+).*/, "$1");
    const scale = Math.min(stage.clientWidth / width, stage.clientHeight / height, LARGEST[kind]);
    if (kind === "explorable" && widen(stage, shown, scale)) return; // the observer calls again, with the other width
    const left = (stage.clientWidth - width * scale) / 2;
    const top = kind === "image" || kind === "explorable" ? (stage.clientHeight - height * scale) / 2 : 0;
    shown.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px) scale(${scale})`;
    shown.dataset.scale = scale.toFixed(3);
  }

  /* An explorable with many controls or much to say is higher than wide: a wider one leaves its column fewer lines. */
  function widen(stage, shown, scale) {
    if (shown.dataset.widened || !shown.querySelector(".explorable-plot:not([hidden])")) return false;
    shown.dataset.widened = "1";
    const widths = [740, 860, 980, 1100, 1220], now = shown.offsetWidth;
    const scales = widths.map((width) => {
      shown.style.width = `${width}px`;
      return Math.min(stage.clientWidth / width, stage.clientHeight / shown.offsetHeight);
    });
    shown.style.width = `${widths[scales.indexOf(Math.max(...scales))]}px`;
    window.dispatchEvent(new Event("resize")); // which plotly listens to
    return shown.offsetWidth !== now;
  }

  const SMALLEST = 29; // of the letters where a slide has only words
  function shrink() {
    const text = Reveal.getCurrentSlide().querySelector(".slide > .text"), slide = text && text.parentElement;
    if (!slide || slide.querySelector(".stage")) return;
    let size = parseFloat(getComputedStyle(text).fontSize);
    while (size > SMALLEST && slide.scrollHeight > slide.clientHeight) text.style.fontSize = `${--size}px`;
  }
  Reveal.on("ready", shrink);
  Reveal.on("slidechanged", shrink);

  const observer = new ResizeObserver((entries) =>
    new Set(entries.map((entry) => entry.target.closest(".stage"))).forEach(fit));
  for (const stage of document.querySelectorAll(".stage")) {
    observer.observe(stage);
    observer.observe(stage.firstElementChild);
    const figure = stage.querySelector(".explorable"); // says of itself when it is drawn
    if (figure) new MutationObserver(() => fit(stage)).observe(figure, { attributes: true });
  }
})();
