// Which library was found, and what came back.
import path from 'node:path';
import { createRequire } from 'node:module';

const { native } = createRequire(import.meta.url)('./node_modules/librevenium/lib/native.cjs');

export const tell = (text) => console.log(path.relative(import.meta.dirname, native.path), text);
