// What a reader has answered: kept in the browser at every change, written to and read from files.
const GRADES = 4;
const SEPARATOR = "\u001f";

class Answers {
  constructor(study) {
    this.study = study;
    this.scales = study.wording.scales.map((scale) => scale.id);
    this.place = `reader-study:${study.study}:${study.reader}`;
    this.codes = study.items.map((item) => item.code);
    this.kept = true;
    this.damaged = false;
    this.position = -1;
    this.clear();
  }

  clear() {
    this.items = new Map(this.codes.map((code) => [code, { grades: {}, milliseconds: 0, comment: "" }]));
  }

  // Reads what the browser kept; false in `kept` says that it keeps nothing.
  restore() {
    let text = null;
    try {
      window.localStorage.setItem(`${this.place}:probe`, "1");
      window.localStorage.removeItem(`${this.place}:probe`);
      text = window.localStorage.getItem(this.place);
    } catch {
      this.kept = false;
      return;
    }
    if (text === null) return;
    try {
      const value = JSON.parse(text);
      this.take(value.items);
      this.position = Math.max(-1, Math.min(this.codes.length, Math.trunc(value.position) || 0));
    } catch {
      this.damaged = true;
      this.clear();
      try { window.localStorage.setItem(`${this.place}:damaged`, text); } catch { this.kept = false; }
    }
  }

  save() {
    if (!this.kept) return;
    try {
      window.localStorage.setItem(this.place, JSON.stringify({ position: this.position, items: this.list() }));
    } catch {
      this.kept = false;
    }
  }

  list() {
    return this.codes.map((code) => {
      const item = this.items.get(code);
      const grades = Object.fromEntries(this.scales.map((scale) => [scale, item.grades[scale] ?? null]));
      return { code, grades, milliseconds: Math.round(item.milliseconds), comment: item.comment };
    });
  }

  // Replaces everything by a list as `list` gives it; throws on anything that cannot be one.
  take(list) {
    const taken = new Map();
    for (const entry of list) {
      if (!this.codes.includes(entry.code) || taken.has(entry.code)) throw new Error("unknown page");
      const grades = {};
      for (const scale of this.scales) {
        const grade = entry.grades[scale];
        if (grade === null || grade === undefined) continue;
        if (!Number.isInteger(grade) || grade < 1 || grade > GRADES) throw new Error("grade out of range");
        grades[scale] = grade;
      }
      const milliseconds = Number.isFinite(entry.milliseconds) ? Math.max(0, entry.milliseconds) : 0;
      taken.set(entry.code, { grades, milliseconds, comment: String(entry.comment ?? "") });
    }
    this.clear();
    for (const [code, item] of taken) this.items.set(code, item);
  }

  open(code) {
    return this.scales.filter((scale) => !(scale in this.items.get(code).grades));
  }

  isComplete(code) {
    return this.open(code).length === 0;
  }

  openPages() {
    return this.codes.map((code, index) => [code, index]).filter(([code]) => !this.isComplete(code)).map(([, index]) => index);
  }

  // Grades and comments without times, to see whether anything changed.
  content() {
    return JSON.stringify(this.list().map((item) => [item.grades, item.comment]));
  }

  isEmpty() {
    return [...this.items.values()].every((item) => !item.comment && Object.keys(item.grades).length === 0);
  }

  // The text over which a file's check sum is taken: answers.py builds the same.
  checkedText(file) {
    const lines = [file.schema, file.study, file.reader, file.saved];
    for (const item of file.items) {
      const grades = this.scales.map((scale) => item.grades[scale] ?? "-");
      lines.push([item.code, ...grades, item.milliseconds, item.comment].join(SEPARATOR));
    }
    return lines.join("\n");
  }

  toFile() {
    const file = { schema: this.study.answers_schema, study: this.study.study, reader: this.study.reader };
    file.saved = new Date().toISOString();
    // Encoding and decoding replaces halves of characters, which no file could hold.
    const whole = (text) => new TextDecoder().decode(new TextEncoder().encode(text));
    file.items = this.list().map((item) => ({ ...item, comment: whole(item.comment) }));
    file.sha256 = sha256(this.checkedText(file));
    return file;
  }

  fromFile(text) {
    const file = JSON.parse(text);
    const expected = [this.study.answers_schema, this.study.study, this.study.reader];
    if (expected.some((value, index) => value !== [file.schema, file.study, file.reader][index])) throw new Error("another study");
    if (sha256(this.checkedText(file)) !== file.sha256) throw new Error("changed");
    this.take(file.items);
    this.save();
  }
}
