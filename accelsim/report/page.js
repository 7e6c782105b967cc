"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const columns = data.columns, count = data.count, byName = new Map(columns.map(c => [c.name, c]));
  const $ = id => document.getElementById(id);
  const make = (tag, text, kind) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  };
  for (const c of columns) if (c.levels) c.text = i => c.values[i] === null ? "" : c.levels[c.values[i]];

  // ---- numbers as people write them
  const SI = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "\u00b5"],
    [1e-9, "n"], [1e-12, "p"], [1e-15, "f"]];
  const BINARY = [[2 ** 40, "Ti"], [2 ** 30, "Gi"], [2 ** 20, "Mi"], [2 ** 10, "Ki"], [1, ""]];
  const digits = v => Math.abs(v) >= 1e4 && Number.isInteger(v) ? v.toLocaleString("en-US") : String(+v.toPrecision(4));
  function write(c, value, unit = true) {
    if (value === null || value === undefined) return "\u2013";
    const v = value * c.factor, table = c.prefixes === "si" ? SI : c.prefixes === "binary" ? BINARY : null;
    if (!table || !v || c.plain) return digits(v) + (unit && c.unit && !c.plain ? " " + c.unit : "");
    const [size, prefix] = table.find(t => Math.abs(v) >= t[0]) || table[table.length - 1];
    return +(v / size).toPrecision(4) + " " + prefix + (unit ? c.unit : "");
  }
  const shown = (c, i) => c.levels ? c.text(i) : write(c, c.values[i]);
  const label = c => c.unit && c.unit !== c.label ? `${c.label} (${c.unit})` : c.label;

  // ---- what is chosen
  const numeric = columns.filter(c => !c.levels && c.some);
  // a colour for each value of a column that has few; numbers in their order
  const MOST_COLOURS = 12;
  for (const c of columns) {
    if (c.levels) { if (c.few) c.hue = i => c.values[i]; continue; }
    if (!c.main) continue;
    const found = new Set();
    for (const v of c.values) { if (v !== null) found.add(v); if (found.size > MOST_COLOURS) break; }
    if (found.size < 2 || found.size > MOST_COLOURS) continue;
    const order = new Map([...found].sort((a, b) => a - b).map((v, n) => [v, n]));
    c.hue = i => order.has(c.values[i]) ? order.get(c.values[i]) : 0;
    c.hues = [...order.keys()];
  }
  const few = columns.filter(c => c.hue);
  const state = { x: data.x, y: data.y, colour: data.colour, front: true, on: null, sort: null, down: false,
    rows: [...Array(count).keys()], zoom: null, all: false };
  const palette = data.palette;
  const options = (select, list, chosen, none) => {
    if (none) select.append(new Option(none, ""));
    for (const c of list) select.append(new Option(label(c), c.name));
    select.value = chosen || "";
  };
  options($("x"), numeric, state.x);
  options($("y"), numeric, state.y);
  options($("colour"), few, state.colour, "one colour");

  // ---- the filter: words, or column<number
  function terms(text) {
    return text.trim().split(/\s+/).filter(Boolean).map(word => {
      const m = /^([^<>=!]+)(<=|>=|!=|<|>|=)(.+)$/.exec(word);
      const c = m && byName.get(m[1]);
      if (!c) {
        const low = word.toLowerCase(), texts = columns.filter(k => k.levels);
        return i => texts.some(k => k.text(i).toLowerCase().includes(low));
      }
      const right = c.levels ? m[3] : Number(m[3]);
      const compare = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
        "=": (a, b) => a === b, "!=": (a, b) => a !== b }[m[2]];
      return i => { const v = c.levels ? c.text(i) : c.values[i]; return v !== null && compare(v, right); };
    });
  }
  function filter() {
    const tests = terms($("filter").value);
    state.rows = [];
    for (let i = 0; i < count; i++) if (tests.every(test => test(i))) state.rows.push(i);
    $("matches").textContent = `${state.rows.length.toLocaleString("en-US")} of ${count.toLocaleString("en-US")} points`;
    sort();
    draw();
  }

  // ---- the front: of each workload its own, since figures of different work are no choice
  function fronts(rows, cx, cy) {
    const work = byName.get("workload"), apart = new Map();
    for (const i of rows) {
      const key = work && work.levels ? work.values[i] : 0;
      if (!apart.has(key)) apart.set(key, []);
      apart.get(key).push(i);
    }
    return [...apart.values()].map(some => front(some, cx, cy));
  }
  function front(rows, cx, cy) {
    const a = i => cx.values[i] * (cx.better > 0 ? -1 : 1), b = i => cy.values[i] * (cy.better > 0 ? -1 : 1);
    const order = rows.filter(i => cx.values[i] !== null && cy.values[i] !== null)
      .sort((i, j) => a(i) - a(j) || b(i) - b(j) || i - j);
    const kept = [];
    let best = Infinity;
    for (const i of order) if (b(i) < best) { best = b(i); kept.push(i); }
    return kept;
  }

  // ---- the scatter
  const canvas = $("plot"), paint = canvas.getContext("2d"), tip = $("tip");
  const PAD = { left: 74, right: 14, top: 12, bottom: 44 };
  let spots = [], scales = null, drag = null;
  function scale(c, rows, low, high, zoom) {
    let least = Infinity, most = -Infinity, positive = true;
    for (const i of rows) {
      const v = c.values[i];
      if (v === null) continue;
      if (v < least) least = v;
      if (v > most) most = v;
      if (v <= 0) positive = false;
    }
    if (least === Infinity) return null;
    const log = positive && most / least > 8;
    if (zoom) [least, most] = zoom;
    else if (log) { const m = (most / least) ** 0.04; least /= m; most *= m; }
    else { const m = (most - least) * 0.05 || Math.abs(most) * 0.05 || 1; least -= m; most += m; }
    const f = log ? Math.log : v => v, g = log ? Math.exp : v => v, f0 = f(least), f1 = f(most);
    return { c, log, least, most, at: v => low + (f(v) - f0) / (f1 - f0) * (high - low),
      back: p => g(f0 + (p - low) / (high - low) * (f1 - f0)) };
  }
  function ticks(s, wanted) {
    const found = [];
    if (s.log) {
      const decades = Math.log10(s.most / s.least), steps = decades > 3 ? [1] : decades > 0.8 ? [1, 2, 5] :
        [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
      // round in the unit that is shown, not in the column's own
      const k = s.c.factor;
      for (let e = Math.floor(Math.log10(s.least * k)); e <= Math.ceil(Math.log10(s.most * k)); e++)
        for (const m of steps) { const v = m * 10 ** e / k; if (v >= s.least && v <= s.most) found.push(v); }
      return found;
    }
    const raw = (s.most - s.least) / wanted, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(m => m >= raw);
    for (let n = Math.ceil(s.least / step); n * step <= s.most; n++) found.push(+(n * step).toPrecision(12));
    return found;
  }
  function mark(x, y, shape, size) {
    paint.beginPath();
    if (shape === 0) paint.arc(x, y, size, 0, 7);
    else if (shape === 1) paint.rect(x - size, y - size, 2 * size, 2 * size);
    else {
      const turns = shape === 2 ? [[0, -1.2], [1.1, 0.9], [-1.1, 0.9]] : shape === 3 ? [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]]
        : shape === 4 ? [[0, 1.2], [1.1, -0.9], [-1.1, -0.9]] : [[-1.2, 0], [0, -0.6], [1.2, 0], [0, 0.6]];
      turns.forEach(([a, b], n) => paint[n ? "lineTo" : "moveTo"](x + a * size, y + b * size));
      paint.closePath();
    }
  }
  function draw() {
    const ratio = window.devicePixelRatio || 1, wide = canvas.clientWidth, high = canvas.clientHeight;
    canvas.width = wide * ratio;
    canvas.height = high * ratio;
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    const css = getComputedStyle(document.documentElement), ink = css.getPropertyValue("--ink"),
      rule = css.getPropertyValue("--rule");
    paint.clearRect(0, 0, wide, high);
    const cx = byName.get(state.x), cy = byName.get(state.y), cc = byName.get(state.colour);
    const sx = cx && scale(cx, state.rows, PAD.left, wide - PAD.right, state.zoom && state.zoom.x);
    const sy = cy && scale(cy, state.rows, high - PAD.bottom, PAD.top, state.zoom && state.zoom.y);
    spots = [];
    scales = sx && sy ? { sx, sy } : null;
    paint.font = "12px system-ui, sans-serif";
    paint.fillStyle = ink;
    if (!scales) { paint.fillText("no point has both of these figures", PAD.left, high / 2); legend(cc); return; }
    axes(sx, sy, wide, high, ink, rule);
    paint.save();
    paint.beginPath();
    paint.rect(PAD.left, PAD.top, wide - PAD.left - PAD.right, high - PAD.top - PAD.bottom);
    paint.clip();
    const many = state.rows.length > 1500, size = many ? 2.2 : 3.6;
    paint.globalAlpha = many ? 0.55 : 0.8;
    for (const i of state.rows) {
      if (cx.values[i] === null || cy.values[i] === null) continue;
      const n = cc ? cc.hue(i) : 0, x = sx.at(cx.values[i]), y = sy.at(cy.values[i]);
      paint.fillStyle = palette[n % palette.length];
      mark(x, y, cc ? n % 6 : 0, size);
      paint.fill();
      spots.push([x, y, i]);
    }
    paint.globalAlpha = 1;
    const kept = state.front ? fronts(state.rows, cx, cy) : [];
    for (const one of kept) if (one.length) stairs(one, cx, cy, cc, sx, sy, ink);
    if (state.on !== null && cx.values[state.on] !== null && cy.values[state.on] !== null) {
      paint.beginPath();
      paint.arc(sx.at(cx.values[state.on]), sy.at(cy.values[state.on]), 9, 0, 7);
      paint.strokeStyle = css.getPropertyValue("--mark");
      paint.lineWidth = 2.5;
      paint.stroke();
    }
    if (drag && drag.moved) {
      paint.strokeStyle = ink;
      paint.lineWidth = 1;
      paint.strokeRect(drag.x, drag.y, drag.toX - drag.x, drag.toY - drag.y);
    }
    paint.restore();
    legend(cc);
    const size_of = kept.reduce((sum, one) => sum + one.length, 0);
    $("onfront").textContent = !state.front ? "" : kept.length > 1 ? `${size_of} on ${kept.length} fronts, one a workload`
      : `${size_of} on the front`;
  }
  function axes(sx, sy, wide, high, ink, rule) {
    paint.strokeStyle = rule;
    paint.lineWidth = 1;
    paint.textAlign = "center";
    let last = -100;
    for (const v of ticks(sx, 8)) {
      const x = Math.round(sx.at(v)) + 0.5;
      paint.beginPath(); paint.moveTo(x, PAD.top); paint.lineTo(x, high - PAD.bottom); paint.stroke();
      if (x - last > 58) { paint.fillText(write(sx.c, v, true), x, high - PAD.bottom + 16); last = x; }
    }
    paint.textAlign = "right";
    last = 1e9;
    for (const v of ticks(sy, 7)) {
      const y = Math.round(sy.at(v)) + 0.5;
      paint.beginPath(); paint.moveTo(PAD.left, y); paint.lineTo(wide - PAD.right, y); paint.stroke();
      if (last - y > 14) { paint.fillText(write(sy.c, v, true), PAD.left - 6, y + 4); last = y; }
    }
    paint.strokeStyle = ink;
    paint.strokeRect(PAD.left + 0.5, PAD.top + 0.5, wide - PAD.left - PAD.right, high - PAD.top - PAD.bottom);
    paint.textAlign = "center";
    paint.fillText(label(sx.c), (PAD.left + wide - PAD.right) / 2, high - 8);
    paint.save();
    paint.translate(13, (PAD.top + high - PAD.bottom) / 2);
    paint.rotate(-Math.PI / 2);
    paint.fillText(label(sy.c), 0, 0);
    paint.restore();
  }
  function stairs(kept, cx, cy, cc, sx, sy, ink) {
    paint.strokeStyle = ink;
    paint.lineWidth = 1.2;
    paint.beginPath();
    kept.forEach((i, n) => {
      const x = sx.at(cx.values[i]), y = sy.at(cy.values[i]);
      if (!n) paint.moveTo(x, y);
      else { paint.lineTo(x, sy.at(cy.values[kept[n - 1]])); paint.lineTo(x, y); }
    });
    paint.stroke();
    for (const i of kept) {
      const n = cc ? cc.hue(i) : 0;
      paint.fillStyle = palette[n % palette.length];
      mark(sx.at(cx.values[i]), sy.at(cy.values[i]), cc ? n % 6 : 0, 4.6);
      paint.fill();
      paint.lineWidth = 0.9;
      paint.stroke();
    }
  }
  function legend(cc) {
    const place = $("legend");
    place.replaceChildren();
    if (!cc) return;
    (cc.levels || cc.hues.map(v => write(cc, v))).forEach((level, n) => {
      const item = make("span"), box = make("span", ["\u25cf", "\u25a0", "\u25b2", "\u25c6", "\u25bc", "\u25c7"][n % 6]);
      box.style.color = palette[n % palette.length];
      item.append(box, " " + (level || "none"));
      place.append(item);
    });
  }
  function nearest(x, y) {
    let best = null, least = 14 * 14;
    for (const [a, b, i] of spots) {
      const d = (a - x) ** 2 + (b - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }
  const place = event => { const r = canvas.getBoundingClientRect(); return [event.clientX - r.left, event.clientY - r.top]; };
  canvas.addEventListener("pointermove", event => {
    const [x, y] = place(event);
    if (drag) {
      drag.toX = x; drag.toY = y;
      drag.moved = drag.moved || Math.hypot(x - drag.x, y - drag.y) > 6;
      if (drag.moved) draw();
      return;
    }
    const i = nearest(x, y);
    tip.hidden = i === null;
    if (i === null) return;
    tip.textContent = [name(i), ...[state.x, state.y].map(k => `${byName.get(k).label}: ${shown(byName.get(k), i)}`)].join("\n");
    tip.style.left = Math.min(x + 14, canvas.clientWidth - 260) + "px";
    tip.style.top = Math.max(4, y - 10) + "px";
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("pointerdown", event => {
    const [x, y] = place(event);
    drag = { x, y, toX: x, toY: y, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", event => {
    const was = drag;
    drag = null;
    if (!was) return;
    if (was.moved && scales && Math.abs(was.toX - was.x) > 6 && Math.abs(was.toY - was.y) > 6) {
      const ends = (s, a, b) => [s.back(a), s.back(b)].sort((m, n) => m - n);
      state.zoom = { x: ends(scales.sx, was.x, was.toX), y: ends(scales.sy, was.y, was.toY) };
      draw();
    } else {
      const i = nearest(...place(event));
      if (i !== null) open(i, true);
    }
  });
  canvas.addEventListener("dblclick", () => { state.zoom = null; draw(); });

  // ---- one point
  function name(i) {
    return data.named.map(k => byName.get(k)).map(c => c.levels ? c.text(i) || `no ${c.name}` :
      `${c.short} ${write(c, c.values[i])}`).join(", ") || `point ${i}`;
  }
  function open(i, scroll) {
    state.on = i;
    const panel = $("point");
    panel.replaceChildren(make("h2", name(i)));
    for (const b of data.breakdowns) {
      const parts = b.parts.map((part, n) => [part, b.values[n][i] || 0]).filter(([, v]) => v > 0);
      const total = parts.reduce((sum, [, v]) => sum + v, 0);
      if (!total) continue;
      panel.append(make("h2", `${b.label}: ${write(b, total)}`));
      const bar = make("div", undefined, "stack"), list = make("div", undefined, "parts");
      for (const [part, v] of parts) {
        const piece = make("span"), box = make("span", undefined, "box"), share = 100 * v / total;
        piece.style.width = share + "%";
        piece.style.background = box.style.background = part.colour;
        piece.title = `${part.label}: ${write(b, v)}`;
        bar.append(piece);
        list.append(box, make("span", part.label), make("span", write(b, v), "n"),
          make("span", share < 0.05 ? "<0.1 %" : share.toFixed(1) + " %", "n"));
      }
      panel.append(bar, list);
    }
    const pairs = make("div", undefined, "pairs");
    for (const c of columns) if (c.levels ? c.text(i) : c.values[i] !== null) pairs.append(make("span", c.label), make("span", shown(c, i)));
    panel.append(make("h2", "all figures"), pairs);
    draw();
    rows();
    if (scroll) reveal(i);
  }

  // ---- the table
  const table = $("table"), grid = $("grid"), head = $("head"), HEIGHT = 22, TOP = 40;
  const main = columns.filter(c => c.main);
  const visible = () => state.all ? columns : main;
  const broken = text => text.replace(/[._]/g, "$&\u200b");  // where a heading may go on in the next line
  const widest = c => Math.max(...label(c).split(/[ ._]/).map(word => word.length + 1), label(c).length / 2 + 1);
  const width = c => Math.min(260, Math.max(c.levels ? 60 : 96, 18 + 7.4 * Math.max(widest(c), c.longest || 0)));
  function heads() {
    head.replaceChildren();
    for (const c of visible()) {
      const arrow = state.sort === c.name ? (state.down ? " \u25bc" : " \u25b2") : "";
      const button = make("button", broken(label(c)) + arrow, c.levels ? "text" : "");
      button.style.width = width(c) + "px";
      button.title = c.name;
      button.dataset.column = c.name;
      button.addEventListener("click", () => {
        state.down = state.sort === c.name && !state.down;
        state.sort = c.name;
        sort();
      });
      head.append(button);
    }
  }
  function sort() {
    const c = byName.get(state.sort), sign = state.down ? -1 : 1;
    if (!c) state.rows.sort((i, j) => i - j);
    else if (c.levels) state.rows.sort((i, j) => sign * c.text(i).localeCompare(c.text(j), "en", { numeric: true }) || i - j);
    else {
      state.rows.sort((i, j) => {  // what has no figure stands last, either way
        const a = c.values[i], b = c.values[j];
        if (a === null || b === null) return (a === null) - (b === null) || i - j;
        return sign * (a - b) || i - j;
      });
    }
    heads();
    rows();
  }
  function rows() {
    const first = Math.max(0, Math.floor((table.scrollTop - TOP) / HEIGHT) - 4);
    const last = Math.min(state.rows.length, first + Math.ceil(table.clientHeight / HEIGHT) + 10);
    const shownColumns = visible(), fresh = [];
    for (let n = first; n < last; n++) {
      const i = state.rows[n], row = make("div", undefined, i === state.on ? "row on" : "row");
      row.style.top = TOP + n * HEIGHT + "px";
      row.dataset.point = i;
      for (const c of shownColumns) {
        const cell = make("div", shown(c, i), c.levels ? "cell text" : "cell");
        cell.style.width = width(c) + "px";
        row.append(cell);
      }
      row.addEventListener("click", () => open(i, false));
      fresh.push(row);
    }
    grid.style.height = TOP + state.rows.length * HEIGHT + "px";
    grid.replaceChildren(head, ...fresh);
  }
  function reveal(i) {
    const n = state.rows.indexOf(i);
    if (n >= 0) table.scrollTop = Math.max(0, n * HEIGHT - table.clientHeight / 2);
  }
  let waiting = false;
  table.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; rows(); });
  });

  // ---- controls
  for (const which of ["x", "y", "colour"]) $(which).addEventListener("change", () => {
    state[which] = $(which).value;
    state.zoom = null;
    draw();
  });
  $("front").addEventListener("change", () => { state.front = $("front").checked; draw(); });
  $("all").addEventListener("change", () => { state.all = $("all").checked; heads(); rows(); });
  $("filter").addEventListener("input", filter);
  $("reset").addEventListener("click", () => { state.zoom = null; $("filter").value = ""; state.sort = null; filter(); });
  new ResizeObserver(() => draw()).observe(canvas);
  filter();
  const now = () => byName.get(state.x) && byName.get(state.y) ?
    fronts(state.rows, byName.get(state.x), byName.get(state.y)).flat() : [];
  const best = now();
  if (best.length) open(best[Math.floor(best.length / 2)], false);
  window.accelsim = { state, open, front: now,
    spot: i => spots.find(s => s[2] === i) };
  document.documentElement.dataset.ready = "true";
})();
