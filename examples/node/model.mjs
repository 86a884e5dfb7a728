// What these programs share.

export const model = process.env.MODEL ?? 'claude-sonnet-5-5';

/** The text blocks of a reply, joined. */
export const textOf = (message) => message.content.map((block) => block.text ?? '').join('');
