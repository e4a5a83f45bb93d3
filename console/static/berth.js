// What makes the pages quicker to use. Each works without it.

const $ = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

// Copying.
async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // without TLS browsers give pages no clipboard
    const area = document.createElement("textarea");
    area.value = text;
    (button.closest("dialog") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.classList.add("copied");
  say("Copied");
  setTimeout(() => button.classList.remove("copied"), 1500);
}

// say tells a screen reader.
function say(text) {
  const status = $("#status");
  if (status) status.textContent = text;
}

// Commands beside forms follow what is typed. The form of the text is that of cli.go.
const quoted = (s) => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(s) ? s : "'" + s.replaceAll("'", "'\\''") + "'");

function fieldValue(form, pre, name) {
  const field = form?.elements.namedItem(name);
  if (field) {
    if (field instanceof RadioNodeList) return field[0].type === "radio" ? field.value : field[0].value.trim();
    if (field.type === "checkbox") return field.checked ? field.value : "";
    return field.value.trim();
  }
  return pre.getAttribute("data-v-" + name.replaceAll("_", "-")) ?? "";
}

function preview(pre) {
  const form = pre.closest("form") ?? $("#" + CSS.escape(pre.dataset.form ?? "-"));
  const value = (name) => fieldValue(form, pre, name);
  const place = /\{([a-zA-Z_]+)(?:=([^}]*)|\*([^}]*))?\}/g;
  const text = pre.dataset.cli
    .replace(/(\s*)\[([^\][]*)\]/g, (_, space, part) => {
      for (const [, name, want] of part.matchAll(place)) {
        if (!value(name) || (want && value(name) !== want)) return "";
      }
      return space + part;
    })
    .replace(place, (_, name, want, prefix) => {
      if (want) return "";
      if (prefix) return value(name).split(/\s+/).filter(Boolean).map((w) => quoted(prefix + w)).join(" ");
      return value(name) ? quoted(value(name)) : name.replaceAll("_", "-").toUpperCase();
    });
  $("code", pre).textContent = text;
}

// Times stay relative to now.
function distance(ms) {
  const future = ms < 0;
  const s = Math.abs(ms) / 1000;
  if (s < 60) return future ? "in a moment" : "just now";
  const day = 86400;
  const [n, unit] = s < 3600 ? [s / 60, "min"] : s < 2 * day ? [s / 3600, "h"] : s < 60 * day ? [s / day, "days"]
    : s < 730 * day ? [s / (30 * day), "months"] : [s / (365 * day), "years"];
  return future ? `in ${Math.floor(n)} ${unit}` : `${Math.floor(n)} ${unit} ago`;
}

function showTimes(from = document) {
  for (const t of all("time[datetime]", from)) {
    if (!t.dataset.exact) t.textContent = distance(Date.now() - Date.parse(t.dateTime));
  }
}

// Parts of the page that are marked are brought up to date when something changes.
let refreshing = false, again = false;

async function refresh(address = location.href) {
  if (refreshing) { again = true; return; }
  refreshing = true;
  try {
    const reply = await fetch(address, { headers: { "X-Berth-Live": "1" }, credentials: "same-origin" });
    if (!reply.ok || reply.redirected) return;
    const next = new DOMParser().parseFromString(await reply.text(), "text/html");
    document.body.dataset.mark = next.body.dataset.mark ?? document.body.dataset.mark;
    for (const part of all("[data-live][id]")) {
      const other = next.getElementById(part.id);
      if (!other || other.innerHTML === part.innerHTML || part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) continue;
      const open = new Set(all("details[open][id]", part).map((d) => d.id));
      const atEnd = all("[data-follow]", part).some((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 40);
      part.replaceChildren(...other.childNodes);
      for (const id of open) part.ownerDocument.getElementById(id)?.setAttribute("open", "");
      if (atEnd) follow(part);
    }
    showTimes();
    reachable();
  } catch { // the server is away; the stream opens again by itself
  } finally {
    refreshing = false;
    if (again) { again = false; setTimeout(refresh, 500); }
  }
}

// What scrolls sideways can be reached with the keyboard.
function reachable() {
  for (const box of all(".scroll, .code pre")) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) {
      box.tabIndex = 0;
      if (!box.getAttribute("role")) { box.setAttribute("role", "group"); box.setAttribute("aria-label", "Scrolls"); }
    } else if (box.getAttribute("aria-label") === "Scrolls") box.removeAttribute("tabindex");
  }
}

function follow(from = document) {
  for (const box of all("[data-follow]", from)) box.scrollTop = box.scrollHeight;
}

function listen() {
  if (!document.body.hasAttribute("data-stream")) return;
  let stream;
  const open = () => {
    if (stream || document.hidden) return;
    stream = new EventSource("/live?" + new URLSearchParams({ topic: document.body.dataset.stream, since: document.body.dataset.mark }));
    stream.addEventListener("changed", () => refresh());
    stream.addEventListener("error", () => { // the browser gives up when it is refused
      if (stream?.readyState === EventSource.CLOSED) { stream = undefined; setTimeout(open, 10000); }
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stream?.close(); stream = undefined; } else open();
  });
  open();
}

// Filters act as somebody types, without another page.
function filtering(form) {
  let timer, last = 0;
  const act = async () => {
    const mine = ++last;
    const address = new URL(form.action || location.href);
    address.search = new URLSearchParams([...new FormData(form)].filter(([, v]) => v)).toString();
    const reply = await fetch(address, { credentials: "same-origin", headers: { "X-Berth-Live": "1" } });
    if (!reply.ok || mine !== last) return;
    const next = new DOMParser().parseFromString(await reply.text(), "text/html");
    const target = document.getElementById(form.dataset.filters);
    const other = next.getElementById(form.dataset.filters);
    if (!target || !other) return;
    target.replaceChildren(...other.childNodes);
    history.replaceState(null, "", address);
    say(target.querySelectorAll("tbody tr").length + " rows");
  };
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(act, 180); });
  form.addEventListener("submit", (e) => { e.preventDefault(); clearTimeout(timer); act(); });
}

// Theme: what the system has, light, or dark.
function theme(to) {
  document.documentElement.dataset.theme = to;
  document.cookie = `berth-theme=${to}; Path=/; Max-Age=31536000; SameSite=Lax`;
}

document.addEventListener("click", (e) => {
  const t = e.target.closest("button, summary, a");
  for (const menu of all("details.menu[open]")) if (!menu.contains(e.target)) menu.removeAttribute("open");
  if (!t) return;
  if (t.dataset.copy !== undefined) copy(t, t.dataset.copy);
  else if (t.dataset.copyCode !== undefined) copy(t, $("code", t.parentElement).textContent);
  else if (t.dataset.open) document.getElementById(t.dataset.open)?.showModal();
  else if (t.dataset.close !== undefined) t.closest("dialog")?.close();
  else if (t.dataset.theme !== undefined) {
    const dark = (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    theme(dark ? "light" : "dark");
  } else if (t.classList.contains("menu-toggle")) t.setAttribute("aria-expanded", t.getAttribute("aria-expanded") !== "true");
  else if (t.dataset.addRow) {
    const row = document.getElementById(t.dataset.addRow).content.cloneNode(true);
    t.before(row);
    $("input, select", t.previousElementSibling)?.focus();
  } else if (t.dataset.removeRow !== undefined) t.closest(t.dataset.removeRow || ".row").remove();
});

document.addEventListener("input", (e) => {
  const form = e.target.closest("form");
  if (!form) return;
  for (const pre of all("pre[data-cli]")) if (pre.closest("form") === form || pre.dataset.form === form.id) preview(pre);
});
document.addEventListener("reset", (e) => setTimeout(() => all("pre[data-cli]", e.target).forEach(preview)));
document.addEventListener("change", (e) => { if (e.target.dataset.submit !== undefined) e.target.form.requestSubmit(); });

// Who confirms a deletion by name cannot do it by accident.
document.addEventListener("input", (e) => {
  const want = e.target.dataset?.confirm;
  if (want !== undefined) e.target.setCustomValidity(e.target.value === want ? "" : `Type ${want}`);
});

document.addEventListener("keydown", (e) => {
  if (e.key === "/" && !e.target.closest("input, textarea, select, dialog") && !e.ctrlKey && !e.metaKey) {
    e.preventDefault();
    $(".bar input[type=search]")?.focus();
  }
  if (e.key === "Escape") all("details.menu[open]").forEach((m) => { m.removeAttribute("open"); $("summary", m).focus(); });
});

all("form[data-filters]").forEach(filtering);
all("pre[data-cli]").forEach(preview);
all("dialog[data-opened]").forEach((d) => d.showModal());
showTimes();
follow();
reachable();
addEventListener("resize", reachable);
listen();
setInterval(showTimes, 30000);
