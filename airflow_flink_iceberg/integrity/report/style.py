"""The page's style sheet: one column that fits a phone, light and dark by the reader's setting, and on paper.

Colours keep a contrast of at least 4.5 to 1 against their ground in both schemes, and none says anything alone: each
outcome has a mark and a word.
"""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--ink:#1b2026;--dim:#59636e;--paper:#fbfcfd;--card:#fff;--line:#d5dbe1;--link:#0757ba;
--pass:#1a7f37;--warn:#8a5c00;--fail:#c4202f;--unknown:#7a43c9;
--pass-bg:#e9f7ed;--warn-bg:#fff6dd;--fail-bg:#ffecec;--unknown-bg:#f3ecfd}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaef;--dim:#9aa4af;--paper:#0e1217;--card:#151b22;--line:#343c46;
--link:#79b8ff;--pass:#4cc262;--warn:#dfa635;--fail:#ff7b72;--unknown:#bf97ff;
--pass-bg:#11281a;--warn-bg:#2c220c;--fail-bg:#351a1c;--unknown-bg:#241a38}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;
overflow-wrap:anywhere;-webkit-text-size-adjust:100%}
main{max-width:54rem;margin:0 auto;padding:1rem}
h1{font-size:1.3rem;line-height:1.35;margin:.2rem 0 .4rem;font-weight:600}
h2{font-size:1.05rem;margin:1.8rem 0 .6rem}
h2 small,.dim{color:var(--dim);font-weight:400;font-size:.9rem}
p{margin:.4rem 0}a{color:var(--link)}bdi{unicode-bidi:isolate}
.pass{--tone:var(--pass);--ground:var(--pass-bg)}.warn{--tone:var(--warn);--ground:var(--warn-bg)}
.fail{--tone:var(--fail);--ground:var(--fail-bg)}.unknown{--tone:var(--unknown);--ground:var(--unknown-bg)}
.word{color:var(--tone);font-weight:700;white-space:nowrap}.word small{display:block;font-weight:400}
.short .word small{display:inline;margin-left:.3rem}
.verdict{background:var(--ground);border:1px solid var(--tone);border-left-width:6px;border-radius:10px;
padding:.8rem 1rem}
.verdict .word{font-size:1.1rem;letter-spacing:.04em;text-transform:uppercase}
.links{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;padding:0;margin:.8rem 0 0;list-style:none}
.steps{padding-left:1.4rem;margin:0}.steps li{margin:.5rem 0}.steps a{font-weight:600}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.5rem .8rem}
.tiles dt{color:var(--dim);font-size:.85rem}.tiles dd{margin:0;font-size:1.2rem;font-weight:600}
.tiles dd small{display:block;font-size:.85rem;font-weight:400;color:var(--dim)}
figure{margin:1rem 0 0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.6rem .8rem;
overflow:hidden}
svg.timeline{display:block;font-size:12px}svg text{fill:var(--dim)}
svg .axis{stroke:var(--dim);stroke-width:2}svg .stem{stroke:var(--line)}
svg rect.down{fill:var(--fail-bg);stroke:var(--fail);stroke-dasharray:3 3}
svg text.down{fill:var(--fail);font-weight:700;font-size:13px}
svg .moment{fill:var(--ink);stroke:var(--ink);stroke-width:1.5}svg .moment.other{fill:var(--card)}
svg .number{fill:var(--card);font-weight:700;font-size:11px}svg .number.other{fill:var(--ink)}
.moments{list-style:none;margin:.6rem 0 0;padding:0}
.moments li{display:grid;grid-template-columns:1.8rem 1fr auto;gap:.5rem;padding:.1rem 0}
.moments b{text-align:right;color:var(--dim);font-weight:600}.moments time{font-variant-numeric:tabular-nums}
.ids{display:grid;grid-template-columns:minmax(6rem,auto) 1fr;gap:.15rem 1rem;margin:0}
.ids dt{color:var(--dim)}.ids dd{margin:0;font-family:ui-monospace,SFMono-Regular,Consolas,monospace;font-size:.87rem}
.bar{display:flex;gap:2px;height:8px;border-radius:4px;overflow:hidden;margin:0 0 .8rem}
.bar i{background:var(--tone);min-width:4px}
.check{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--tone);border-radius:8px;
margin:.5rem 0;padding:0 .8rem;overflow:clip}
.check>summary{display:grid;grid-template-columns:5.8rem 1fr;gap:0 .6rem;padding:.55rem 0;list-style:none}
.check>summary::-webkit-details-marker{display:none}
.check>summary .actual{grid-column:2;color:var(--dim);font-size:.92rem}
.check>:last-child:not(summary){margin-bottom:.8rem}
summary{cursor:pointer}summary:focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:4px}
.next{background:var(--ground);border-radius:6px;padding:.45rem .7rem}
.group>summary{padding:.4rem 0;font-weight:600}.short{list-style:none;margin:.5rem 0;padding:0}
.short li{padding:.15rem 0;border-bottom:1px solid var(--line)}
pre{background:var(--paper);border:1px solid var(--line);border-radius:6px;padding:.6rem;margin:.4rem 0 0;
white-space:pre-wrap;font:12.5px/1.45 ui-monospace,SFMono-Regular,Consolas,monospace}
:target{outline:2px solid var(--link);outline-offset:2px}
@media(max-width:30rem){.ids{grid-template-columns:5.2rem 1fr;column-gap:.6rem}.ids dt{font-size:.9rem}
main{padding:.7rem}}
@media print{main{max-width:none}details::details-content{content-visibility:visible}.check,figure{break-inside:avoid}}
""".strip().replace("\n", "")
