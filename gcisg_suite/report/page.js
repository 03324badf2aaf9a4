// Draws the charts of a page in the place of their pictures. Without it the pictures stay.
document.querySelectorAll("figure.curves").forEach((figure) => {
  const charts = JSON.parse(figure.querySelector("script").textContent);
  const plots = figure.querySelector(".plots");
  const drawn = [];

  function options(chart, width) {
    const ink = getComputedStyle(document.body).color;
    const axis = { stroke: ink, grid: { stroke: "#8883", width: 1 }, ticks: { stroke: "#8886", width: 1 } };
    const few = chart.steps.length < 40;
    return {
      title: chart.title,
      width,
      height: 260,
      scales: { x: { time: false } },
      axes: [{ ...axis, label: chart.x, labelSize: 22, size: 34 }, { ...axis, size: 56 }],
      cursor: { drag: { x: true, y: false } },
      legend: { live: true, markers: { width: 3, dash: (_, number) => (number ? chart.lines[number - 1].style : "solid") } },
      hooks: { draw: chart.mark === null ? [] : [(plot) => mark(plot, chart.mark, ink)] },
      series: [{ label: chart.x }].concat(chart.lines.map((line) => ({
        label: line.name,
        stroke: line.colour,
        width: 1.75,
        dash: line.dash.length ? line.dash : undefined,
        spanGaps: true,
        points: { show: few, size: 5, fill: line.colour },
        value: (_, number) => (number === null || number === undefined ? "–" : Number(number.toPrecision(4)).toString()),
      }))),
    };
  }

  function mark(plot, x, ink) {
    const place = plot.valToPos(x, "x", true);
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ink;
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    ctx.moveTo(place, bbox.top);
    ctx.lineTo(place, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  }

  function draw() {
    drawn.splice(0).forEach((plot) => plot.destroy());
    const places = charts.map(() => document.createElement("div"));
    plots.append(...places); // all of them first: together they share the width
    charts.forEach((chart, number) => {
      const place = places[number];
      drawn.push(new uPlot(options(chart, place.clientWidth), [chart.steps, ...chart.lines.map((l) => l.values)], place));
    });
  }

  figure.classList.add("live");
  draw();
  const redraw = () => { plots.replaceChildren(); draw(); };
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
});
