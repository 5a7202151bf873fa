/* SPDX-License-Identifier: MIT */
/* Head, style sheet and sentences of the page. */
#include "playground/page_text.h"

const char page_head[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" "
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    "<title>srv play: how servers wait</title>\n"
    "<style>\n";

const char page_style_base[] =
    ":root{--bg:#f7f7f5;--card:#fff;--ink:#1b1f24;--soft:#5d6673;--line:#e1e3e6;--a:#2563c9;"
    "--a-soft:#2563c933;--b:#0f8a7d;--t:#c2570c;--peer:#98a2b3;--code:#f0f1f3}\n"
    "@media (prefers-color-scheme:dark){:root{--bg:#121417;--card:#1a1d22;--ink:#e8eaed;"
    "--soft:#9aa4b2;--line:#2c3138;--a:#6ea6ff;--a-soft:#6ea6ff33;--b:#45c9b8;--t:#f29a54;"
    "--peer:#667082;--code:#22262c}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--bg);color:var(--ink);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;"
    "-webkit-text-size-adjust:100%}\n"
    "main{max-width:66rem;margin:0 auto;padding:2rem 1rem 4rem}\n"
    "h1{font-size:2rem;line-height:1.15;margin:0 0 .4rem;letter-spacing:-.02em}\n"
    "h2{font-size:1.3rem;margin:2.6rem 0 .3rem;letter-spacing:-.01em}\n"
    "h3{font-size:1.1rem;margin:0}\n"
    "h4{font-size:.8rem;font-weight:500;color:var(--soft);margin:0 0 .5rem}\n"
    ".bar-row+h4{margin-top:1.1rem;padding-top:.7rem;border-top:1px solid var(--line)}\n"
    ".lead{font-size:1.15rem;line-height:1.45}.lead a{color:inherit;font-weight:600}\n"
    "nav{display:flex;flex-wrap:wrap;gap:.15rem .9rem;font-size:.85rem;color:var(--soft)}\n"
    "nav a{color:var(--a);text-decoration:none}nav a:hover{text-decoration:underline}\n"
    "p{margin:.3rem 0 1rem;max-width:46rem}\n"
    ".soft{color:var(--soft)}\n"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "padding:1rem 1.1rem;margin:0 0 1rem}\n"
    ".bar-row{display:grid;grid-template-columns:9rem 1fr;align-items:start;gap:.6rem}\n"
    ".bar-name{color:inherit;text-decoration:none;text-align:right;font-weight:600;"
    "font-size:.9rem;line-height:26px;overflow-wrap:anywhere}\n"
    ".bar-name small{display:block;font-weight:400;font-size:.72rem;line-height:1.2;"
    "color:var(--soft);margin:-.1rem 0 .2rem}\n"
    ".bar-name:hover{text-decoration:underline}\n"
    ".peer .bar-name{font-weight:400;color:var(--soft)}\n"
    "svg{display:block}\n"
    ".strip{overflow:visible}\n"
    ".bar,.spread{fill:var(--a)}.bar-peer{fill:var(--peer)}.reach{fill:var(--line)}\n"
    ".held{fill:var(--card);stroke:var(--t);stroke-width:2.5}.threads{fill:var(--a)}"
    ".threads.theirs{fill:var(--peer)}\n"
    ".spread{opacity:.35}.p50{fill:var(--a)}.p90{fill:var(--b)}.p99{fill:var(--t)}\n"
    ".ideal{stroke:var(--ink);stroke-width:2}\n"
    ".tutorial{fill:var(--card);stroke:var(--t);stroke-width:2.5}\n"
    "text{fill:var(--ink);font-size:13px;font-variant-numeric:tabular-nums}\n"
    ".small{fill:var(--soft);font-size:11px}.theirs{fill:var(--soft)}\n"
    ".after{transform:translate(9px,0)}.below{text-anchor:end}.narrow{display:none}\n"
    ".note{color:var(--soft);font-size:.8rem;margin:-.4rem 0 .4rem}\n"
    ".keys{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;color:var(--soft);font-size:.85rem;"
    "margin:0 0 .8rem}\n"
    ".keys i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:.4rem;"
    "vertical-align:-1px;background:var(--a)}\n"
    ".keys .k-ideal{width:2px;border-radius:0;background:var(--ink)}\n"
    ".keys .k-tutorial{border-radius:50%;background:none;border:2.5px solid var(--t)}\n"
    ".keys .k-threads{border-radius:50%}"
    ".keys .k-held{border-radius:50%;background:none;border:2.5px solid var(--t)}\n"
    ".keys .k-peer{background:var(--peer)}.keys .k-p90{background:var(--b)}"
    ".keys .k-p99{background:var(--t)}\n"
    ".glance{display:grid;grid-template-columns:1fr 1fr;gap:1rem}\n"
    ".glance .card{margin:0;min-width:0}.slim h3{font-size:.95rem;margin:0 0 .4rem}\n"
    ".slim .bar-row{grid-template-columns:8.2rem 1fr}.slim small{font-size:.66rem}\n"
    ".slim .bar-name{font-size:.82rem;line-height:22px;font-weight:400}\n"
    ".scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}\n";

const char page_style_parts[] =
    "table{border-collapse:collapse;width:100%;font-size:.82rem;"
    "font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.4rem .38rem;text-align:right;white-space:nowrap}\n"
    "th{color:var(--soft);font-weight:500;vertical-align:bottom;line-height:1.2;"
    "border-bottom:1px solid var(--line)}\n"
    "tbody tr+tr td,tbody tr+tr th{border-top:1px solid var(--line)}\n"
    "th:first-child,td:first-child{text-align:left;position:sticky;left:0;"
    "background:var(--card);color:var(--ink);font-weight:600;border-bottom:0}\n"
    "tr.peer th:first-child{font-weight:400;color:var(--soft)}\n"
    "td.skipped{text-align:left;color:var(--soft);white-space:normal}\n"
    ".tags{color:var(--soft);font-size:.85rem;font-weight:400}\n"
    ".facts{display:grid;grid-template-columns:repeat(5,1fr);gap:.5rem .7rem;"
    "margin:.8rem 0 1rem;padding:0}\n"
    ".facts div{border-left:2px solid var(--line);padding-left:.5rem}\n"
    ".facts dt{color:var(--soft);font-size:.78rem}\n"
    ".facts "
    "dd{margin:0;font-size:1.05rem;font-weight:600;white-space:nowrap;font-variant-numeric:tabular-"
    "nums}\n"
    ".facts dd small{font-weight:400;color:var(--soft);font-size:.8rem}\n"
    ".plots{display:grid;grid-template-columns:repeat(3,1fr);gap:1.5rem}\n"
    ".plot .dots{stroke:var(--a);stroke-width:4;stroke-linecap:round;stroke-opacity:.55}"
    ".plot .dots.bad{stroke:var(--t)}.plot .area{fill:var(--a-soft)}\n"
    "figure{margin:0;min-width:0}\n"
    "figure{display:flex;flex-direction:column}\n"
    "figcaption{font-size:.85rem;font-weight:600;margin-bottom:auto}\n"
    ".legend{font-weight:400;color:var(--soft);display:flex;flex-wrap:wrap;gap:0 .9rem}\n"
    ".key::before{content:'';display:inline-block;width:14px;height:3px;margin-right:.35rem;"
    "vertical-align:3px;background:currentColor}\n"
    ".key.line-a,.key.line-c{color:var(--a)}.key.line-b{color:var(--b)}.key.line-d{color:var(--t)}"
    "\n"
    ".frame{position:relative;margin-top:.4rem;border-left:1px solid var(--line);"
    "border-bottom:1px solid var(--line);border-top:1px dashed var(--line)}\n"
    ".plot{width:100%;height:96px;overflow:visible}\n"
    ".plot path{fill:none;stroke-width:2;vector-effect:non-scaling-stroke;stroke-linejoin:round}\n"
    ".plot .line-a,.plot .line-c{stroke:var(--a)}.plot .line-b{stroke:var(--b)}"
    ".plot .line-d{stroke:var(--t)}.plot .line-c{stroke-width:5;stroke-opacity:.4}\n"
    ".plot .level{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 4}"
    ".key.level::before{height:0;background:none;border-top:2px dashed var(--ink)}\n"
    ".y{position:absolute;left:.3rem;top:.1rem;font-size:.72rem;color:var(--soft);"
    "line-height:1.2}\n"
    ".x{display:flex;justify-content:space-between;font-size:.72rem;color:var(--soft)}\n"
    ".notice{border-left:3px solid var(--a);padding-left:.7rem}\n"
    "summary{cursor:pointer;color:var(--soft);font-size:.9rem;margin-top:.8rem}\n"
    "pre{background:var(--code);border-radius:6px;padding:.7rem .8rem;margin:.5rem 0 0;"
    "overflow-x:auto;font:13px/1.6 ui-monospace,'DejaVu Sans Mono',Menlo,monospace}\n"
    "footer{color:var(--soft);font-size:.85rem;margin-top:2.5rem}\n"
    "@media (max-width:44rem){main{padding:1.2rem .8rem 3rem}h1{font-size:1.6rem}"
    ".facts{grid-template-columns:repeat(auto-fit,minmax(7.2rem,1fr))}"
    ".plots,.glance{grid-template-columns:1fr}.bar-row{grid-template-columns:1fr;gap:0}"
    ".slim .bar-row{grid-template-columns:6.4rem 1fr;gap:.5rem}"
    ".slim .bar-name{text-align:right;margin:0;line-height:22px}"
    ".bar-row:not(.slim *) "
    ".bar-name{text-align:left;line-height:1.3;margin-top:.6rem}.card{padding:.8rem}}\n"
    "@media (max-width:56rem){.wide{display:none}.narrow{display:inline}}\n"
    "@media print{body{background:#fff}.card{break-inside:avoid}}\n"
    "</style></head>\n<body><main>\n"
    "<h1>How servers wait</h1>\n";

const char page_intro[] =
    "<p>Every server here runs the same handler, which asks a slow API and passes the answer on. "
    "From row to row only the way of waiting differs.</p>\n";

const char page_index[] =
    "<nav aria-label=\"Contents\"><a href=\"#waits\">Threads and requests</a>\n"
    "<a href=\"#costs\">CPU and memory</a>\n<a href=\"#times\">Time</a>\n"
    "<a href=\"#latencies\">Response times</a>\n<a href=\"#figures\">All figures</a>\n"
    "<span>One by one:</span>\n";

const char page_waits[] =
    "<h2 id=\"waits\">Threads, and the requests that they keep in flight</h2>\n"
    "<p>A server that can keep all clients waiting at once is as fast as the slow API. The farther "
    "the two dots are apart, the more requests wait on each thread. The axis is logarithmic.</p>\n"
    "<div class=\"keys\"><span><i class=\"k-threads\"></i>threads of the server</span>"
    "<span><i class=\"k-held\"></i>calls in flight in the slow API at once</span></div>\n";

const char page_costs[] = "<h2 id=\"costs\">What that costs</h2>\n"
                          "<p>Threads are one price of waiting; these are the others.</p>\n";

const char page_times[] =
    "<h2 id=\"times\">Time against the ideal</h2>\n"
    "<p>The ideal is what the waiting alone takes: waves of requests, as many at once as the "
    "model lets wait side by side, each as long as the delay. What a bar has beyond the rule is "
    "overhead.</p>\n";

const char page_latencies[] =
    "<h2 id=\"latencies\">Response times</h2>\n"
    "<p>Where the requests of each row ended, connecting included. A server that queues shows it "
    "here: its clients wait for others, not only for the slow API.</p>\n"
    "<div class=\"keys\"><span><i></i>p50</span><span><i class=\"k-p90\"></i>p90</span>"
    "<span><i class=\"k-p99\"></i>p99</span><span>line: to the slowest</span></div>\n";

const char page_table[] =
    "<h2 id=\"figures\">All figures</h2>\n"
    "<p>Threads, CPU and memory are those of the server, all its processes together; the slow API, "
    "the load generator and a proxy in front are not counted.</p>\n";

const char page_rows[] =
    "<h2>One by one</h2>\n"
    "<p>Threads are counted as <code>top -H</code> shows them. A request is in flight from the "
    "clients' connect to the last byte of its answer, a call while the slow API has not answered "
    "it; what lies between the two lines waits in the server, or in front of it. A connection is "
    "counted as the kernel knows it, whether or not it carries a call.</p>\n";

const char page_foot[] = "</main></body></html>\n";
