'use strict';
// JSON that arrives in pieces, as the input of a tool does.

/** What is whole of a JSON text so far: an incomplete last member is left out. Each piece is read once. */
class PartialJson {
  /** The value; undefined before anything is whole, and when the text turns out to be no JSON. */
  value;
  /** The objects and arrays that the text is inside of, and for each object the member that has begun. */
  #open = [];
  #names = [];
  /** What has come of a string, a number or a word. */
  #token = '';
  #inString = false;
  #escaped = false;
  #broken = false;

  push(piece) {
    let from = 0;
    for (let at = 0; at < piece.length && !this.#broken; at++) {
      const char = piece[at];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (char === '\\') this.#escaped = true;
        else if (char === '"') {
          this.#inString = false;
          this.#take(this.#token + piece.slice(from, at + 1));
          from = at + 1;
        }
      } else if (char === '"') {
        this.#inString = true;
      } else if ('{}[]:, \t\r\n'.includes(char)) {
        this.#take(this.#token + piece.slice(from, at));
        from = at + 1;
        if (char === '{' || char === '[') this.#begin(char === '{' ? {} : []);
        else if (char === '}' || char === ']') this.#end();
      }
    }
    this.#token += piece.slice(from);
    return this;
  }

  /** `text`: a whole string, number or word, or nothing. */
  #take(text) {
    this.#token = '';
    if (text === '') return;
    try {
      const value = JSON.parse(text);
      if (this.#wantsName()) this.#names[this.#names.length - 1] = String(value);
      else this.#put(value);
    } catch {
      this.#fail();
    }
  }

  #wantsName() {
    return this.#open.length > 0 && !Array.isArray(this.#open.at(-1)) && this.#names.at(-1) === null;
  }

  #begin(value) {
    this.#put(value);
    this.#open.push(value);
    this.#names.push(null);
  }

  #end() {
    if (this.#open.pop() === undefined) this.#fail();
    this.#names.pop();
  }

  #put(value) {
    const around = this.#open.at(-1);
    if (around === undefined) {
      if (this.value === undefined) this.value = value;
      else this.#fail();
    } else if (Array.isArray(around)) {
      around.push(value);
    } else if (this.#wantsName()) {
      this.#fail();
    } else {
      // Not an assignment: a member may be called __proto__.
      Object.defineProperty(around, this.#names.at(-1), { value, enumerable: true, writable: true, configurable: true });
      this.#names[this.#names.length - 1] = null;
    }
  }

  #fail() {
    this.#broken = true;
    this.value = undefined;
  }
}

/** The value of a text that may break off anywhere; undefined if nothing of it is whole. */
function partialJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return new PartialJson().push(text).value;
  }
}

module.exports = { PartialJson, partialJson };
