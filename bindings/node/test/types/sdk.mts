// Values of the official SDKs' types go in, and values of ours go where theirs are wanted: tsc says whether it fits.

import Anthropic, { type Message, type MessageCreateParamsBase, type RawMessageStreamEvent, fetch } from 'librevenium';
import CurrentSDK from 'sdk-current';
import PreviousSDK from 'sdk-previous';

declare function given<T>(): T;
declare function takes<T>(value: T): void;

// Requests.
takes<MessageCreateParamsBase>(given<CurrentSDK.MessageCreateParams>());
takes<MessageCreateParamsBase>(given<PreviousSDK.MessageCreateParams>());

takes<CurrentSDK.MessageParam>(given<Anthropic.MessageParam>());
takes<Anthropic.MessageParam>(given<CurrentSDK.MessageParam>());
takes<Anthropic.MessageParam>(given<PreviousSDK.MessageParam>());

// Replies, both ways.
takes<CurrentSDK.Message>(given<Message>());
takes<PreviousSDK.Message>(given<Message>());
takes<Message>(given<CurrentSDK.Message>());
takes<Message>(given<PreviousSDK.Message>());

// Events, both ways.
takes<CurrentSDK.RawMessageStreamEvent>(given<RawMessageStreamEvent>());
takes<PreviousSDK.RawMessageStreamEvent>(given<RawMessageStreamEvent>());
takes<RawMessageStreamEvent>(given<CurrentSDK.RawMessageStreamEvent>());
takes<RawMessageStreamEvent>(given<PreviousSDK.RawMessageStreamEvent>());

// The drop-in.
new CurrentSDK({ fetch });
new PreviousSDK({ fetch });

// Our client with the SDK's params, and with its types plugged in.
const client = new Anthropic({ apiKey: 'k', baseURL: 'http://localhost', timeout: 1000, maxRetries: 1 });
takes<Promise<CurrentSDK.Message>>(client.messages.create(given<CurrentSDK.MessageCreateParamsNonStreaming>()));
const plugged = new Anthropic<{ Message: CurrentSDK.Message; Event: CurrentSDK.RawMessageStreamEvent }>();
takes<Promise<CurrentSDK.Message>>(plugged.messages.create(given<CurrentSDK.MessageCreateParamsNonStreaming>()));
for await (const event of await plugged.messages.create(given<CurrentSDK.MessageCreateParamsStreaming>())) {
  takes<CurrentSDK.RawMessageStreamEvent>(event);
}
plugged.messages.stream(given<CurrentSDK.MessageStreamParams>()).on('contentBlock', (block) => takes<CurrentSDK.ContentBlock>(block));

// These types are not `any` in disguise.
// @ts-expect-error
takes<CurrentSDK.Message>(given<Omit<Message, 'usage'>>());
// @ts-expect-error
takes<Message>(given<{ type: 'message' }>());
