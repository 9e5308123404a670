/**
 * Colours of heat maps: blue is better, orange is worse, in five steps, each with a readable text
 * colour.
 */
export interface Scheme {
  readonly page: string;
  readonly text: string;
  readonly quiet: string;
  readonly line: string;
  readonly panel: string;
  readonly accent: string;
  readonly dropped: string;
  readonly worse: string;
  readonly steps: Readonly<Record<'better' | 'worse', readonly (readonly [back: string, text: string])[]>>;
}

/**
 * @internal Blue and orange differ for all kinds of colour blindness; lightness shows the size in
 *   black and white too.
 */
export const LIGHT: Scheme = {
  page: '#ffffff',
  text: '#1f2328',
  quiet: '#59636e',
  line: '#d1d9e0',
  panel: '#f6f8fa',
  accent: '#0969da',
  dropped: '#c8d1da',
  worse: '#bc4c00',
  steps: {
    better: [
      ['#ddf4ff', '#1f2328'],
      ['#b6e3ff', '#1f2328'],
      ['#80ccff', '#1f2328'],
      ['#54aeff', '#1f2328'],
      ['#0969da', '#ffffff'],
    ],
    worse: [
      ['#fff1e5', '#1f2328'],
      ['#ffd8b5', '#1f2328'],
      ['#ffb77c', '#1f2328'],
      ['#fb8f44', '#1f2328'],
      ['#bc4c00', '#ffffff'],
    ],
  },
};

/** @internal */
export const DARK: Scheme = {
  page: '#0d1117',
  text: '#f0f6fc',
  quiet: '#9198a1',
  line: '#3d444d',
  panel: '#151b23',
  accent: '#4493f8',
  dropped: '#3d444d',
  worse: '#db6d28',
  steps: {
    better: [
      ['#051d4d', '#f0f6fc'],
      ['#0c2d6b', '#f0f6fc'],
      ['#0d419d', '#f0f6fc'],
      ['#1158c7', '#f0f6fc'],
      ['#79c0ff', '#0d1117'],
    ],
    worse: [
      ['#3d1300', '#f0f6fc'],
      ['#5a1e02', '#f0f6fc'],
      ['#762d0a', '#f0f6fc'],
      ['#9b4215', '#f0f6fc'],
      ['#f0883e', '#0d1117'],
    ],
  },
};

function variables({ steps, ...plain }: Scheme): string {
  const own = Object.entries(plain).map(([name, colour]) => `--${name}: ${colour};`);
  const heat = Object.entries(steps).flatMap(([side, colours]) =>
    colours.map(([back, text], i) => `--${side}${i + 1}: ${back}; --on-${side}${i + 1}: ${text};`),
  );
  return [...own, ...heat].join(' ');
}

const heatRules = ['better', 'worse']
  .flatMap((side) => [1, 2, 3, 4, 5].map((step) => `${side}${step}`))
  .map((name) => `.${name} { background: var(--${name}); color: var(--on-${name}); }`)
  .join('\n');

export const STYLE = `
:root { ${variables(LIGHT)} color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { ${variables(DARK)} } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1rem 3rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 2.5rem 0 .75rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); font-size: 1.2rem; }
h3 { margin: 1.5rem 0 .5rem; font-size: 1rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--accent); }
.lead { font-size: 1.1rem; }
.note, footer, caption, .quiet { color: var(--quiet); }
.note, footer { font-size: .875rem; }
footer { margin-top: 3rem; }
code, pre { font: .9em ui-monospace, monospace; }
pre { margin: .5rem 0; padding: .75rem 1rem; border: 1px solid var(--line); border-radius: 6px; background: var(--panel);
  white-space: pre-wrap; }
/* Words of a command break only if they are longer than a line. */
pre span { display: inline-block; max-width: 100%; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 1rem 0 0; padding: 0; list-style: none; }
nav a { display: inline-block; padding: .25rem 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: .75rem; margin: 1rem 0; }
.tiles > div { padding: .75rem 1rem; border: 1px solid var(--line); border-radius: 6px; background: var(--panel); }
.tiles dt { color: var(--quiet); font-size: .875rem; }
.tiles dd { margin: 0; font-variant-numeric: tabular-nums; }
data { white-space: nowrap; }
.tiles .main { font-size: 1.35rem; font-weight: 600; line-height: 1.4; }
/* A shadow marks an edge with more content behind it. */
.scroll { position: relative; margin: .75rem 0; overflow-x: auto;
  background: linear-gradient(to right, var(--page) 40%, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--page) 40%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--line), transparent) left / .75rem 100% no-repeat scroll,
    linear-gradient(to left, var(--line), transparent) right / .75rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { padding: 0 0 .35rem; text-align: left; }
/* The caption keeps its place while a wide table is scrolled. */
caption span { position: sticky; left: 0; display: inline-block; max-width: min(46rem, calc(100vw - 2rem)); overflow-wrap: anywhere; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: normal; }
th:first-child { padding-left: 0; }
thead th { font-weight: 600; vertical-align: bottom; white-space: nowrap; }
tbody th { font-weight: 400; }
.numbers { text-align: right; }
.numbers, .words { white-space: nowrap; }
td.text { min-width: 12rem; }
td.names, tbody th.names { min-width: 10.5rem; max-width: 32rem; overflow-wrap: anywhere; }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); gap: 0 2rem; }
.heat { font-size: .75rem; border-collapse: separate; border-spacing: 1px; }
.heat th, .heat td { position: relative; border: 0; padding: .3rem .2rem; text-align: right; white-space: nowrap; }
.heat td { min-width: 2.3rem; }
.heat caption { font-size: .875rem; color: var(--text); font-weight: 600; }
.heat thead th { font-weight: 400; color: var(--quiet); }
.heat .stopped data { text-decoration: underline dotted; text-underline-offset: 2px; }
.heat .chance data { font-style: italic; }
.heat .best { outline: 2px solid var(--text); outline-offset: -2px; font-weight: 700; }
${heatRules}
.legend { display: flex; flex-wrap: wrap; gap: .35rem 1px; align-items: center; margin: .75rem 0; padding: 0; list-style: none;
  font-size: .75rem; font-variant-numeric: tabular-nums; }
.legend li { padding: .2rem .5rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .875rem; }
svg { display: block; width: 100%; max-width: 27rem; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); }
svg .quiet { fill: var(--quiet); }
svg .grid { stroke: var(--line); fill: none; }
svg .zero { stroke: var(--text); fill: none; }
svg .kept, svg .better { fill: var(--accent); stroke: var(--accent); }
svg .dropped { fill: var(--dropped); }
svg .worse { fill: var(--worse); stroke: var(--worse); }
svg .unsure { fill: var(--quiet); stroke: var(--quiet); }
svg .cut { stroke: var(--text); stroke-dasharray: 4 3; fill: none; }
svg .kept { stroke: none; }
summary { padding: .35rem 0; cursor: pointer; }
.spoken { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 30rem) {
  table { font-size: .8125rem; }
  th, td { padding: .3rem .35rem; }
  .heat { font-size: .6875rem; }
  .heat th, .heat td { padding: .35rem .05rem; }
  .heat td { min-width: 2.1rem; }
}
@media print { .scroll { overflow: visible; } nav { display: none; } }
`;
