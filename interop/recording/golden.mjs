// Writing and comparing golden files: the same few lines for both kinds of transcript.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';

/** Records `text` as the file's new content, or with `check` compares it. Answers the number of failures. */
export function settle(file, text, { check }) {
  const name = relative(process.cwd(), file);
  if (!check) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    return 0;
  }
  let golden;
  try {
    golden = readFileSync(file, 'utf8');
  } catch (error) {
    console.error(`${name}: ${error.code}`);
    return 1;
  }
  if (golden === text) return 0;
  console.error(`${name} differs\n--- golden\n${golden}--- now\n${text}`);
  return 1;
}

/** The one text that all runs agreed on, or undefined after saying how they differ. */
export function agreed(name, texts) {
  const distinct = [...new Set(texts)];
  if (distinct.length === 1) return distinct[0];
  console.error(`${name}: ${texts.length} runs gave ${distinct.length} different transcripts`);
  for (const text of distinct) {
    console.error(`--- ${texts.filter((t) => t === text).length} times\n${text}`);
  }
  return undefined;
}
