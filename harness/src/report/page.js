const controls = document.getElementById("controls");
const filter = document.getElementById("filter");
const results = [...document.querySelectorAll(".result")];
const texts = results.map((result) => result.textContent.toLowerCase());

function show() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const verdicts = new Set(new FormData(controls).getAll("verdict"));
  let shown = 0;
  results.forEach((result, at) => {
    const fits = verdicts.has(result.dataset.verdict) && words.every((word) => texts[at].includes(word));
    result.hidden = !fits;
    shown += fits;
  });
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector(".result:not([hidden])");
  }
  document.getElementById("none").hidden = shown > 0;
  document.getElementById("shown").textContent = `${shown} of ${results.length}`;
}

controls.hidden = false;
controls.addEventListener("input", show);
controls.addEventListener("submit", (event) => event.preventDefault());
show();
