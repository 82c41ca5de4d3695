// The questionnaire: introduction, one screen a model, overview.
(() => {
  "use strict";
  const study = JSON.parse(document.getElementById("study").textContent);
  const words = study.wording.interface;
  const scales = study.wording.scales;
  const answers = new Answers(study);
  const find = (id) => document.getElementById(id);
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  let warnedAbout = null;
  let marked = 0;
  let clock = performance.now();
  let unsaved = false;

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function notice(text, isWarning = false) {
    const place = find("notice");
    place.textContent = text;
    place.classList.toggle("warning", isWarning);
    place.hidden = text === "";
  }

  function ask(text, yes, no) {
    const dialog = find("question");
    find("question-words").textContent = text;
    find("question-yes").textContent = yes;
    find("question-no").textContent = no;
    return new Promise((resolve) => {
      let result = null;
      find("question-yes").onclick = () => { result = true; dialog.close(); };
      find("question-no").onclick = () => { result = false; dialog.close(); };
      dialog.onclose = () => resolve(result);
      dialog.showModal();
    });
  }

  const currentItem = () => study.items[answers.position];

  // Counts only while the page is in view; `leaving` when it was so until this moment.
  function countTime(leaving = false) {
    const now = performance.now();
    const item = currentItem();
    if (item && (leaving || document.visibilityState === "visible")) answers.items.get(item.code).milliseconds += now - clock;
    clock = now;
  }

  function save() {
    countTime();
    answers.save();
    showStorage();
    showProgress();
  }

  function showStorage() {
    const place = find("storage-notice");
    const text = answers.damaged ? words.damaged : words.no_storage;
    const wanted = answers.damaged || !answers.kept;
    if (place.hidden !== wanted && place.textContent === text) return;
    place.textContent = wanted ? text : "";
    place.hidden = !wanted;
  }

  function showProgress() {
    const count = study.items.length;
    const done = count - answers.openPages().length;
    find("progress").max = count;
    find("progress").value = done;
    find("progress-words").textContent = fill(words.progress, { done, count });
  }

  function picture(source, caption) {
    const image = make("img", { src: source, alt: caption });
    const button = make("button", { type: "button", title: fill(words.enlarge, { picture: caption }) }, image);
    button.setAttribute("aria-label", fill(words.enlarge, { picture: caption }));
    button.onclick = () => {
      find("enlarged-words").textContent = caption;
      find("enlarged-picture").src = source;
      find("enlarged-picture").alt = caption;
      find("enlarged").showModal();
    };
    return make("figure", {}, button, make("figcaption", { textContent: caption }));
  }

  function question(scale, index, code) {
    const given = answers.items.get(code).grades;
    const set = make("fieldset", {}, make("legend", { textContent: scale.name }), make("p", { textContent: scale.question }));
    set.dataset.scale = scale.id;
    scale.grades.forEach((meaning, place) => {
      const input = make("input", { type: "radio", name: scale.id, value: String(place + 1), checked: given[scale.id] === place + 1 });
      input.onchange = () => grade(index, place + 1);
      set.append(make("label", { className: "grade" }, input, make("b", { textContent: String(place + 1) }), make("span", { textContent: meaning })));
    });
    set.onfocus = set.onclick = () => mark(index);
    set.addEventListener("focusin", () => mark(index));
    return set;
  }

  function mark(index) {
    marked = index;
    document.querySelectorAll("fieldset").forEach((set, place) => set.classList.toggle("marked", place === index));
  }

  function grade(index, value) {
    answers.items.get(currentItem().code).grades[scales[index].id] = value;
    unsaved = true;
    notice("");
    save();
  }

  function showItem(main) {
    const item = currentItem();
    const side = words[item.side];
    const radiographs = make("div", { className: "pictures two" }, make("h3", { textContent: fill(words.radiographs, { side }) }));
    item.radiographs.forEach((name, index) => radiographs.append(picture(study.pictures[name], words[study.radiograph_names[index]])));
    const views = make("div", { className: "pictures six" }, make("h3", { textContent: fill(words.views, { bones: item.bones.map((name) => words[name]).join(", ") }) }));
    item.views.forEach((source, index) => views.append(picture(source, words[study.view_names[index]])));
    const comment = make("textarea", { id: "comment", value: answers.items.get(item.code).comment });
    comment.oninput = () => { answers.items.get(item.code).comment = comment.value; unsaved = true; save(); };
    const label = make("label", { htmlFor: "comment", textContent: words.comment });
    const questions = make("div", { className: "questions" });
    scales.forEach((scale, index) => questions.append(question(scale, index, item.code)));
    questions.append(label, comment, make("p", { className: "keys", textContent: words.keys }));
    const title = fill(words.page, { number: answers.position + 1, count: study.items.length });
    main.append(make("div", { className: "page" }, make("h2", { textContent: title }), make("div", { className: "shown" }, radiographs, views), questions));
    const open = answers.open(item.code);
    mark(open.length ? scales.findIndex((scale) => scale.id === open[0]) : 0);
  }

  function showIntroduction(main) {
    const text = make("div", { className: "introduction" });
    study.wording.introduction.forEach((paragraph) => text.append(make("p", { textContent: paragraph })));
    const list = make("dl");
    scales.forEach((scale) => {
      list.append(make("dt", { textContent: scale.name }), make("dd", { textContent: scale.question }));
    });
    text.append(list, make("p", { className: "keys", textContent: words.keys }));
    main.append(text);
  }

  function showOverview(main) {
    const open = answers.openPages();
    const list = make("ol");
    study.items.forEach((item, index) => {
      const isOpen = open.includes(index);
      const state = isOpen ? words.incomplete : words.complete;
      const text = `${fill(words.page, { number: index + 1, count: study.items.length })}: ${state}`;
      const button = make("button", { type: "button", textContent: text, className: isOpen ? "open" : "" });
      button.onclick = () => go(index);
      list.append(make("li", {}, button));
    });
    const state = open.length ? fill(words.overview_incomplete, { count: open.length }) : words.overview_complete;
    main.append(make("div", { className: "overview" }, make("h2", { textContent: words.overview_title }), make("p", { textContent: state }), list));
  }

  function show() {
    const main = find("main");
    main.replaceChildren();
    notice("");
    warnedAbout = null;
    if (answers.position < 0) showIntroduction(main);
    else if (answers.position >= study.items.length) showOverview(main);
    else showItem(main);
    find("back").disabled = answers.position < 0;
    find("next").disabled = answers.position >= study.items.length;
    find("next").textContent = answers.position < 0 ? words.start : words.next;
    showProgress();
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }

  function go(position) {
    countTime();
    answers.position = Math.max(-1, Math.min(study.items.length, position));
    save();
    show();
  }

  function next() {
    const item = currentItem();
    const open = item ? answers.open(item.code) : [];
    if (open.length && warnedAbout !== item.code) {
      warnedAbout = item.code;
      const questions = scales.filter((scale) => open.includes(scale.id)).map((scale) => scale.name).join(", ");
      notice(fill(words.unanswered, { questions }), true);
      return;
    }
    go(answers.position + 1);
  }

  async function exportAnswers() {
    save();
    const open = answers.openPages();
    if (open.length) {
      const choice = await ask(fill(words.export_incomplete, { count: open.length }), words.export_anyway, words.first_open);
      if (choice === false) go(open[0]);
      if (choice !== true) return;
    }
    const file = answers.toFile();
    const address = URL.createObjectURL(new Blob([`${JSON.stringify(file, null, 1)}\n`], { type: "application/json" }));
    const name = `answers_${study.reader}_${study.study}.json`;
    const link = make("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    unsaved = false;
    notice(fill(words.exported, { file: name }));
  }

  async function importAnswers(file) {
    const text = await file.text();
    if (!answers.isEmpty() && (await ask(words.import_replace, words.replace, words.keep)) !== true) return;
    try {
      answers.fromFile(text);
    } catch {
      notice(words.import_wrong, true);
      return;
    }
    answers.damaged = false;
    unsaved = false;
    show();
    showStorage();
    notice(words.imported);
  }

  function key(event) {
    const target = event.target;
    const writes = target.tagName === "TEXTAREA";
    if (writes || event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const pressed = event.key.toLowerCase();
    if (pressed === "n") next();
    else if (pressed === "b") go(answers.position - 1);
    else if (currentItem() && /^[1-4]$/.test(pressed)) {
      const set = document.querySelectorAll("fieldset")[marked];
      const input = set.querySelector(`input[value="${pressed}"]`);
      input.checked = true;
      grade(marked, Number(pressed));
      if (marked + 1 < scales.length) mark(marked + 1);
      document.querySelectorAll("fieldset")[marked].scrollIntoView({ block: "nearest" });
    } else return;
    event.preventDefault();
  }

  // Another window of the same page has saved: its answers are the newer ones.
  function changedElsewhere(event) {
    if (event.key !== answers.place || event.newValue === null) return;
    const position = answers.position;
    const before = answers.content();
    answers.restore();
    answers.position = position;
    if (answers.content() !== before) show();
  }

  find("reader").textContent = fill(words.reader, { reader: study.reader });
  for (const id of ["back", "overview", "export", "import"]) find(id).textContent = words[id];
  find("enlarged-close").textContent = words.close;
  find("enlarged-close").onclick = () => find("enlarged").close();
  find("enlarged-picture").onclick = () => find("enlarged").close();
  find("back").onclick = () => go(answers.position - 1);
  find("next").onclick = next;
  find("overview").onclick = () => go(study.items.length);
  find("export").onclick = exportAnswers;
  find("import").onclick = () => find("import-file").click();
  find("import-file").onchange = (event) => {
    const [file] = event.target.files;
    if (file) importAnswers(file).finally(() => { find("import-file").value = ""; });
  };
  document.addEventListener("keydown", key);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") { countTime(true); answers.save(); }
    else clock = performance.now();
  });
  window.addEventListener("storage", changedElsewhere);
  window.addEventListener("pagehide", save);
  window.addEventListener("beforeunload", (event) => { if (!answers.kept && unsaved) event.preventDefault(); });
  setInterval(() => {
    if (document.visibilityState !== "visible" || !currentItem()) return;
    countTime();
    answers.save();
  }, 5000);
  answers.restore();
  showStorage();
  show();
})();
