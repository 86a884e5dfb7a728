// Types as CommonJS sees them.
import librevenium = require('librevenium');

export const text: string = librevenium.version;
// @ts-expect-error a version is no number
export const wrong: number = librevenium.version;
