import { en, type Words } from "./en";

/** Languages by their tag. */
const LANGUAGES: Readonly<Record<string, Words>> = { en };

export interface Language {
  tag: string;
  words: Words;
}

/** The first of the wanted languages that there is: "de-AT" is content with "de". English otherwise. */
export function pick(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    for (const part of [tag.toLowerCase(), tag.toLowerCase().split("-")[0] ?? ""]) {
      const words = LANGUAGES[part];
      if (words && Object.hasOwn(LANGUAGES, part)) return { tag: part, words };
    }
  }
  return { tag: "en", words: en };
}

export type { Words };
