// Renders ECharts options to SVG: a request per line on standard input, an answer per line on standard output.
// Started as `node echarts_server.cjs FOLDER`, FOLDER being the node_modules with the package echarts.
'use strict';

const path = require('path');
const readline = require('readline');

const folder = path.resolve(process.argv[2]);
const echarts = require(path.join(folder, 'echarts'));

// Widths of characters in thousandths of the em, as the font of the present chart has them.
let advances = {};

function measureText(text, font) {
  const size = parseFloat((/([\d.]+)px/.exec(font || '') || [0, 12])[1]);
  let width = 0;
  for (const character of text || '') {
    width += advances[character] === undefined ? 600 : advances[character];
  }
  return { width: (width * size) / 1000 };
}
echarts.setPlatformAPI({ measureText });

// An axis names its ticks by {low, step, labels}, since JSON has no functions.
function withFormatters(axis) {
  for (const one of Array.isArray(axis) ? axis : [axis]) {
    const label = one && one.axisLabel;
    if (label && label.formatter && label.formatter.labels) {
      const { low, step, labels } = label.formatter;
      label.formatter = (value) => labels[Math.round((value - low) / step)] || '';
    }
  }
}

// A radar chart has one label for all points of a row; it names their texts by {texts}.
function withTexts(series) {
  for (const item of series.type === 'radar' ? series.data : []) {
    if (item.label) {
      const { texts } = item.label.formatter;
      item.label.formatter = (point) => texts[point.dimensionIndex];
    }
  }
}

function render(request) {
  advances = request.advances;
  const { option, width, height } = request;
  for (const name of ['xAxis', 'yAxis', 'radiusAxis', 'radar']) {
    if (option[name]) withFormatters(option[name]);
  }
  (option.series || []).forEach(withTexts);
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption(option);
    return { svg: chart.renderToSVGString() };
  } finally {
    chart.dispose();
  }
}

process.stdout.write(JSON.stringify({ version: echarts.version }) + '\n');

const lines = readline.createInterface({ input: process.stdin, terminal: false });
lines.on('line', (line) => {
  let answer;
  try {
    answer = render(JSON.parse(line));
  } catch (error) {
    answer = { error: String((error && error.message) || error) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
});
lines.on('close', () => process.exit(0));
