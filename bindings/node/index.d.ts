// librevenium for Node.js: call Claude with every call metered to Revenium.
//
// Times are milliseconds. Nothing here wants to be freed or closed: calls, streams and scopes give back what they hold
// when they end. An idle library never keeps the process alive; calls under way do. At exit, records that are still
// unsent are sent for up to the setting `flush_at_exit_ms`; on a signal that ends the process they are not, so call
// `shutdown()` from your handler.

import type {
  Message,
  MessageCreateParamsBase,
  MessageCreateParamsNonStreaming,
  MessageCreateParamsStreaming,
  RawMessageStreamEvent,
  UsageMetadata,
} from './types';

import type * as shapes from './types';

export * from './types';

/** Plug in other types, the official SDK's say: `new Anthropic<{ Message: SDK.Message; Event: SDK.RawMessageStreamEvent }>()`. */
export interface Types {
  Message?: unknown;
  Event?: unknown;
}

type MessageOf<T extends Types> = T extends { Message: infer M } ? M : Message;
type EventOf<T extends Types> = T extends { Event: infer E } ? E : RawMessageStreamEvent;

/** Headers in any of the usual forms. null takes a default header away, undefined says nothing. */
export type HeadersLike = Headers | [string, string][] | Record<string, string | null | undefined>;

export interface ClientOptions {
  /** Default: the setting `anthropic_api_key`, that is ANTHROPIC_API_KEY. A function is asked for each call. */
  apiKey?: string | null | (() => string | Promise<string>);
  /** Sent as `Authorization: Bearer` instead of a key. */
  authToken?: string | null;
  /** Default: the setting `anthropic_base_url`, that is ANTHROPIC_BASE_URL. A path is kept. */
  baseURL?: string | null;
  /** See RequestOptions. */
  timeout?: number;
  /** 0 to 100. Default: the setting `max_retries`, 2. */
  maxRetries?: number;
  defaultHeaders?: HeadersLike;
  /** Who answers. Default: the setting `provider`. */
  provider?: 'auto' | 'anthropic' | 'bedrock' | null;
}

export interface RequestOptions {
  /** Ends the call. Before the answer the call rejects with APIUserAbortError; the iteration of a stream then just ends. */
  signal?: AbortSignal | null;
  /**
   * Milliseconds. For a reply: from the call to its end, retries included. For a stream: until the provider's first
   * answer; a stream that goes on may go on for hours. Default: the setting `timeout_ms`.
   */
  timeout?: number;
  maxRetries?: number;
  headers?: HeadersLike;
}

/** A client. Cheap: it opens nothing of its own, and there may be any number. */
export class Anthropic<T extends Types = {}> {
  constructor(options?: ClientOptions);
  /** null when it comes from the settings or from a function. */
  readonly apiKey: string | null;
  readonly authToken: string | null;
  readonly baseURL: string | null;
  readonly timeout: number | undefined;
  readonly maxRetries: number | undefined;
  readonly messages: Messages<T>;
  /** The same client with some options changed. */
  withOptions(options: ClientOptions): Anthropic<T>;
}

/** The shapes of the Messages API where users of the official SDK look for them: `Anthropic.MessageParam`. */
export declare namespace Anthropic {
  type ContentBlock = shapes.ContentBlock;
  type Message = shapes.Message;
  type MessageCreateParams = shapes.MessageCreateParams;
  type MessageCreateParamsNonStreaming = shapes.MessageCreateParamsNonStreaming;
  type MessageCreateParamsStreaming = shapes.MessageCreateParamsStreaming;
  type MessageParam = shapes.MessageParam;
  type Model = shapes.Model;
  type RawMessageStreamEvent = shapes.RawMessageStreamEvent;
  type StopReason = shapes.StopReason;
  type TextBlock = shapes.TextBlock;
  type ToolUseBlock = shapes.ToolUseBlock;
  type Usage = shapes.Usage;
}

export default Anthropic;

export interface Messages<T extends Types = {}> {
  /**
   * Send a message.
   *
   * Rejects with one of the error classes below; with ReveniumError, and nothing sent, when the library refuses the
   * request (bad JSON, no key, too many calls, after shutdown).
   */
  create(params: MessageCreateParamsNonStreaming, options?: RequestOptions): APIPromise<MessageOf<T>>;
  /** The promise resolves when the provider has answered, before the first event. */
  create(params: MessageCreateParamsStreaming, options?: RequestOptions): APIPromise<Stream<EventOf<T>>>;
  create(params: MessageCreateParamsBase, options?: RequestOptions): APIPromise<MessageOf<T> | Stream<EventOf<T>>>;
  /** Send a message and follow the reply. An error that no listener and no promise takes is an unhandled rejection. */
  stream(params: MessageCreateParamsBase, options?: RequestOptions): MessageStream<T>;
}

export interface APIPromise<R> extends Promise<R> {
  /** Status and headers of the provider's answer. Its body is read already. */
  asResponse(): Promise<Response>;
  withResponse(): Promise<{ data: R; response: Response; request_id: string | null }>;
  /** What the library knows about a reply beside its content. Of a stream: what was known when it began. */
  withInfo(): Promise<{ data: R; info: CallInfo }>;
}

/** About one call. What is not known is absent. */
export interface CallInfo {
  /** `REVENIUM_OK`; absent while the call runs. */
  code?: string;
  http_status?: number;
  request_id?: string;
  /** Who answered. */
  provider?: 'anthropic' | 'bedrock';
  model?: string;
  stop_reason?: string;
  /** Of the usage record. */
  transaction_id?: string;
  /** Milliseconds. */
  duration_ms?: number;
  /** Milliseconds. */
  time_to_first_token_ms?: number;
  attempts?: number;
  /** Whether the call was handed to metering. */
  metered?: boolean;
  headers?: Record<string, string>;
  [member: string]: unknown;
}

/**
 * The events of a streamed reply, to be read once. Leaving the loop early ends the call, and what was used until then
 * is metered. Events wait in memory for a slow reader: at most one reply.
 */
export class Stream<Event> implements AsyncIterable<Event> {
  private constructor();
  /** `controller.abort()` ends the call; the iteration then ends without an error. */
  readonly controller: AbortController;
  [Symbol.asyncIterator](): AsyncIterator<Event>;
  tee(): [Stream<Event>, Stream<Event>];
  /** The events as lines of JSON. */
  toReadableStream(): ReadableStream;
}

export interface MessageStreamEvents<T extends Types = {}> {
  /** The provider has answered. */
  connect: () => void;
  streamEvent: (event: EventOf<T>, snapshot: MessageOf<T>) => void;
  text: (delta: string, snapshot: string) => void;
  thinking: (delta: string, snapshot: string) => void;
  signature: (signature: string) => void;
  citation: (citation: any, snapshot: any[]) => void;
  /** `snapshot`: the tool's input as far as it is whole. */
  inputJson: (delta: string, snapshot: unknown) => void;
  contentBlock: (block: MessageOf<T> extends { content: (infer B)[] } ? B : unknown) => void;
  message: (message: MessageOf<T>) => void;
  finalMessage: (message: MessageOf<T>) => void;
  error: (error: AnthropicError) => void;
  abort: (error: APIUserAbortError) => void;
  /** Comes last, always. */
  end: () => void;
}

export class MessageStream<T extends Types = {}> implements AsyncIterable<EventOf<T>> {
  private constructor();
  readonly controller: AbortController;
  readonly receivedMessages: MessageOf<T>[];
  readonly ended: boolean;
  readonly errored: boolean;
  readonly aborted: boolean;
  /** The message as far as it has come; undefined before its start and after its end. */
  readonly currentMessage: MessageOf<T> | undefined;
  on<E extends keyof MessageStreamEvents<T>>(event: E, listener: MessageStreamEvents<T>[E]): this;
  once<E extends keyof MessageStreamEvents<T>>(event: E, listener: MessageStreamEvents<T>[E]): this;
  off<E extends keyof MessageStreamEvents<T>>(event: E, listener: MessageStreamEvents<T>[E]): this;
  /** The next `event`. Rejects if the stream fails before. */
  emitted<E extends keyof MessageStreamEvents<T>>(event: E): Promise<any>;
  /** Resolves when the stream has ended well; rejects with its error. */
  done(): Promise<void>;
  finalMessage(): Promise<MessageOf<T>>;
  /** The text blocks, joined with spaces. Rejects if there are none. */
  finalText(): Promise<string>;
  /** What the library knows about the reply beside its content. */
  finalInfo(): Promise<CallInfo>;
  /** End the call. What was used until then is metered. */
  abort(): void;
  [Symbol.asyncIterator](): AsyncIterator<EventOf<T>>;
  toReadableStream(): ReadableStream;
}

/**
 * Run `fn`; every call that it makes, directly or after any await, carries `fields` over those of the scopes around it.
 * Concurrent requests never see each other's. `fields` are copied.
 * @returns what `fn` returns
 */
export function withUsageMetadata<R>(fields: UsageMetadata, fn: () => R): R;

/** Run `fn` with the meter mark: its calls are metered even if the setting `selective_metering` is on. */
export function meter<R>(fn: () => R): R;

/**
 * For the official SDK: `new Anthropic({ fetch })`. POST …/v1/messages goes through this library and is metered; every
 * other URL goes to the global fetch. Reads `usage_metadata` (or `usageMetadata`) in the body and takes it out.
 */
export function fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;

/**
 * A `fetch` for a client that tries again `maxRetries` times, be it the official SDK with another number than its default
 * of 2, or a framework with retries of its own (LangChain.js, Vercel's AI SDK): only the attempt after which it gives up
 * leaves a record of a failure, and no client says how often it will try. Without `maxRetries`, the SDK's default holds for
 * the SDK, and each failed attempt of a framework is a record with its `retryNumber`.
 * `passThrough`: every request goes to the global fetch, unmetered, as tests want it that intercept requests there.
 */
export function createFetch(options?: { maxRetries?: number; passThrough?: boolean }): typeof fetch;

/** What a request to Revenium's platform may be told besides. */
export interface PlatformOptions {
  signal?: AbortSignal | null;
  /** Most milliseconds, attempts included. Without it, an operation is tried for minutes. */
  timeout?: number;
}

/**
 * Ask Revenium for something: one of the operations in docs/platform.md of librevenium, `jobs.get` say. `params` are named as in
 * Revenium's API; `teamId` wins over the setting `team_id`.
 *
 * Rejects with ReveniumError before anything is sent (`REVENIUM_E_ARGUMENT`, `_CONFIG`: an unknown operation or parameter,
 * a missing or malformed one, a key that may not do it), with the class of the status for Revenium's refusals; `error` then
 * holds what Revenium said in `error.response`.
 */
export function platform(operation: string, params?: Record<string, unknown>, options?: PlatformOptions): Promise<any>;

export type ExecutionStatus = 'SUCCESS' | 'FAILED' | 'CANCELLED';
export type OutcomeType = 'CONVERTED' | 'ESCALATED' | 'DEFLECTED' | 'UNSUCCESSFUL' | 'CUSTOM';

/** A fact about a job, besides its outcome. */
export interface Metric {
  key: string;
  value: unknown;
  provenance?: 'MEASURED' | 'SELF_REPORTED' | 'DERIVED' | 'ATTESTED';
  recordedBy?: string;
  source?: string;
  reason?: string;
  recordedAt?: string;
}

/** How a job ended. */
export interface Outcome {
  executionStatus: ExecutionStatus;
  outcomeType?: OutcomeType;
  /** Needs an `outcomeType`. */
  outcomeValue?: number;
  /** Default: USD. */
  outcomeCurrency?: string;
  /** Why it failed or was cancelled; at most 2048 characters. */
  outcomeReason?: string;
  metadata?: object | string;
  reportedBy?: string;
  metrics?: Metric[];
  teamId?: string;
}

/** What changes in an outcome that was reported. The version that was told last is the one that is meant. */
export interface Amendment extends Partial<Outcome> {
  reason?: string;
  expectedEntityVersion?: number;
}

export interface JobFilters {
  type?: string;
  executionStatus?: ExecutionStatus;
  outcomeType?: OutcomeType;
  environment?: string;
  startDate?: string;
  endDate?: string;
  page?: number;
  size?: number;
  sort?: string;
  teamId?: string;
}

/** A job while it runs. */
export interface RunningJob {
  readonly id: string;
  reportOutcome(outcome: Outcome, options?: PlatformOptions): Promise<any>;
}

/** Jobs: units of work with a business result. Answers are Revenium's JSON. */
export const jobs: {
  create(id: string, fields?: { name?: string; type?: string; version?: string; environment?: string; teamId?: string }, options?: PlatformOptions): Promise<any>;
  list(filters?: JobFilters, options?: PlatformOptions): Promise<any>;
  get(id: string, options?: PlatformOptions): Promise<any>;
  roi(id: string, options?: PlatformOptions): Promise<any>;
  transactions(id: string, page?: { page?: number; size?: number; sort?: string }, options?: PlatformOptions): Promise<any>;
  types(options?: PlatformOptions): Promise<any>;
  conversionFunnel(filters?: { startDate?: string; endDate?: string; type?: string; environment?: string }, options?: PlatformOptions): Promise<any>;
  /** Once for each job. */
  reportOutcome(id: string, outcome: Outcome, options?: PlatformOptions): Promise<any>;
  amendOutcome(id: string, change: Amendment, options?: PlatformOptions): Promise<any>;
  appendMetrics(id: string, metrics: Metric[], options?: PlatformOptions): Promise<any>;
  outcomeHistory(id: string, options?: PlatformOptions): Promise<any>;
  /**
   * Run `fn` as the job `id`: its calls carry `fields` and the job's id. When it throws, the job is reported as FAILED with
   * the error's class (for at most half a minute; a report that fails is a process warning), and the error goes on. How it
   * ended otherwise, `fn` says with `job.reportOutcome`.
   */
  run<R>(id: string, fields: UsageMetadata & { name?: string; type?: string; version?: string }, fn: (job: RunningJob) => R | Promise<R>): Promise<R>;
};

/** What a type of job costs without Claude. */
export const economics: {
  get(type: string, options?: PlatformOptions): Promise<any>;
  put(type: string, economics: object, options?: PlatformOptions): Promise<any>;
  baselines(type: string, options?: PlatformOptions): Promise<any>;
  addBaseline(type: string, baseline: { effectiveFrom: string; costPerUnit: number; currency?: string }, options?: PlatformOptions): Promise<any>;
  addFacts(type: string, facts: object[], options?: PlatformOptions): Promise<any>;
};

/** A rule of Revenium's cost controls, as far as it concerns one call. */
export interface BudgetRule {
  rule_name: string;
  rule_id: number | string;
  current_value: number | null;
  threshold: number | null;
  resets_at: string | null;
  deny_message: string | null;
}

export const budgets: {
  /**
   * Whether a call with these params would go out, without making it. Asks nobody: the rules are those fetched last.
   * @throws BudgetExceededError if it would be refused
   */
  check(params: MessageCreateParamsBase): { allowed: true; enforced: boolean; warnings?: BudgetRule[]; would_refuse?: string };
  list(filters?: { ruleId?: string; include?: 'advisory'; teamId?: string }, options?: PlatformOptions): Promise<any>;
  roster(ruleId: string, page?: { page?: number; size?: number; search?: string; band?: string }, options?: PlatformOptions): Promise<any>;
};

/**
 * Whether a webhook really comes from Revenium. False whatever is the matter with it; nothing is thrown for bad input.
 * `timestamp` and `signature` are the headers X-Revenium-Webhook-Timestamp and X-Revenium-Signature-256; `body` is what
 * came, before anything parsed it. Of several secrets any will do; an empty one spoils them all.
 */
export function verifyWebhook(webhook: {
  secret: string | string[];
  timestamp: string | undefined;
  signature: string | undefined;
  body: string | Uint8Array;
  /** Default: 300. */
  toleranceSeconds?: number;
}): boolean;

/** Settings by their JSON keys, which docs/settings.md of librevenium lists: `metering_api_key`, `selective_metering`, … */
export type Config = Record<string, string | number | boolean | object | null>;

/**
 * Start the library with settings of your own: they win over the environment. Optional: the first call starts it from
 * the environment. Opens no connection. For the whole process, threads included.
 * @throws ReveniumError `REVENIUM_E_CONFIG`: an unknown or malformed setting; `REVENIUM_E_ALREADY`: it runs with others
 */
export function init(config?: Config): void;

/** Whether a call made now would be metered: the library runs, or can start, and has a Revenium key. */
export function isInitialized(): boolean;

/** The state of the library in this process. Counters run since the start. */
export interface Status {
  initialized: boolean;
  /** Who answers a call without its own choice. */
  provider: 'anthropic' | 'bedrock' | null;
  /** `off`: there is no Revenium key. */
  metering: 'on' | 'selective' | 'off';
  callsInFlight: number;
  callsStarted: number;
  callsFailed: number;
  /** Usage records not yet acknowledged by Revenium. */
  eventsPending: number;
  eventsDelivered: number;
  eventsRetried: number;
  /** Given up for good. 0 is the healthy value. */
  eventsDropped: number;
  /** Of the last failed delivery, `REVENIUM_E_…`. */
  lastError: string | null;
  lastHttpStatus: number | null;
}

/** @throws ReveniumError `REVENIUM_E_CLOSED` after shutdown */
export function status(): Status;

/** The same and more: settings in force without secrets, why this provider, queue depth, the last error in words. */
export function statusJson(): Record<string, any>;

/**
 * Wait, without holding up the event loop, until no usage record waits to be delivered.
 * @param timeoutMs milliseconds; 5,000 if not given
 * @returns false: some still wait when the time is up; they stay queued
 */
export function flush(timeoutMs?: number): Promise<boolean>;

/**
 * Undo one `init()` of this thread, or the start by its first call. The last one cancels this thread's calls under way
 * (each rejects), delivers what waits, and ends the library if nobody else in the process has started it. Later calls
 * of this thread reject with `REVENIUM_E_CLOSED` until `init()` starts it afresh. Without a start it does nothing.
 * @param timeoutMs milliseconds; 5,000 if not given
 * @returns false: the time was up first; what is unsent stays in the spool, where there is one, for the next run
 */
export function shutdown(timeoutMs?: number): Promise<boolean>;

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

/**
 * Receive the library's log lines up to `level` (default `info`), beside standard error. Lines hold no keys and no
 * prompts. When lines come faster than they are read, some are dropped.
 * @returns a function that ends it
 */
export function onLog(listener: (level: LogLevel, line: string) => void, level?: LogLevel): () => void;

/**
 * Receive a report of each delivery to Revenium that failed or was given up.
 * @returns a function that ends it
 */
export function onMetering(listener: (report: Record<string, any>) => void): () => void;

/** The version of the loaded library, "0.1.0". */
export const version: string;
/** Its ABI version, which this package was made for. */
export const abiVersion: number;

/** The root of all errors of this package. */
export class AnthropicError extends Error {
  /** The library's name for what happened, `REVENIUM_E_RATE_LIMIT` say. */
  code: string | null;
}

/** What the library itself has to say; see `code`: `REVENIUM_E_CONFIG`, `_JSON`, `_BUSY`, `_CLOSED`, `_AWS`, … */
export class ReveniumError extends AnthropicError {}

/**
 * A budget at Revenium refuses the call: nothing was sent, and nothing is metered. Under the official SDK the same is a
 * status 402 whose error has the type `billing_error` and the rule's fields.
 */
export class BudgetExceededError extends ReveniumError {
  readonly status: 402;
  readonly type: 'billing_error';
  readonly error: { type: 'error'; error: { type: 'billing_error'; message: string } & Partial<BudgetRule> };
  /** null where no rule said so: none is known, and `budget_fail_mode` is closed. */
  readonly ruleName: string | null;
  readonly ruleId: number | string | null;
  readonly currentValue: number | null;
  readonly threshold: number | null;
  readonly resetsAt: string | null;
  readonly denyMessage: string | null;
}

/** The provider's refusal. */
export class APIError extends AnthropicError {
  constructor(status: number | undefined, error: any, message: string | undefined, headers: Headers | undefined);
  /** The HTTP status; undefined if there was no answer, or the error came inside a stream. */
  readonly status: number | undefined;
  readonly headers: Headers | undefined;
  /** The body, parsed. */
  readonly error: any;
  readonly requestID: string | null | undefined;
  /** `rate_limit_error` and the like, as the provider names it. */
  readonly type: string | null;
}

/** The call was aborted: by its signal, its controller, or shutdown. */
export class APIUserAbortError extends APIError {
  constructor(options?: { message?: string });
}
/** No answer, or one that broke off: DNS, TCP, TLS, the stream. */
export class APIConnectionError extends APIError {
  constructor(options?: { message?: string; cause?: unknown });
}
export class APIConnectionTimeoutError extends APIConnectionError {
  constructor(options?: { message?: string });
}
/** 400 */
export class BadRequestError extends APIError {}
/** 401 */
export class AuthenticationError extends APIError {}
/** 402 */
export class PaymentRequiredError extends APIError {}
/** 403 */
export class PermissionDeniedError extends APIError {}
/** 404 */
export class NotFoundError extends APIError {}
/** 408 */
export class RequestTimeoutError extends APIError {}
/** 409 */
export class ConflictError extends APIError {}
/** 413 */
export class ContentTooLargeError extends APIError {}
/** 422 */
export class UnprocessableEntityError extends APIError {}
/** 429 */
export class RateLimitError extends APIError {}
/** 5xx */
export class InternalServerError extends APIError {}
/** 529 */
export class OverloadedError extends InternalServerError {}

/** A call that this library did not make. All may be left out, but for what came of it. */
export interface CallRecord {
  /** The request's body. Its members `usage_metadata` and `revenium` count as in a call of this library. */
  request?: unknown;
  /** The message, or the body of an error. */
  response?: unknown;
  /** The text of a stream, instead of a response. */
  events?: string;
  error?: CallFailure;
  provider?: 'anthropic' | 'bedrock' | 'vertex' | 'foundry';
  /** What was called where the request does not say it, such as the id in a URL of Bedrock or Vertex AI. */
  model?: string;
  region?: string;
  streamed?: boolean;
  /** A Date, or milliseconds since 1970. */
  startedAt?: Date | number;
  durationMs?: number;
  timeToFirstTokenMs?: number;
  attempts?: number;
  usageMetadata?: UsageMetadata;
}

/** How a call failed: by an HTTP status, or by an error's type, 'timeout', 'connection' or 'cancelled'. */
export interface CallFailure {
  status?: number;
  error?: string | { type?: string };
  type?: string;
}

/** `metered` is false where metering is off, or where the call was recorded before. */
export interface Recorded {
  metered: boolean;
  transactionId: string | undefined;
}

/**
 * Meter a call that is over and that this library did not make. Each record is one billable transaction at Revenium. Never
 * waits for the network.
 */
export function record(call: CallRecord): Recorded;

/**
 * Meter one line of a Message Batch's results, once, however often the results are read: what was recorded is remembered for
 * 30 days. Requests that were cancelled or expired used nothing and leave no record.
 */
export function recordBatchResult(batchId: string, line: string | object): Recorded;

/** A call that something else is making. One that is closed, or forgotten, before its end was cancelled. */
export class Tap {
  constructor(call: Omit<CallRecord, 'response' | 'events' | 'error'>);
  /** More bytes of the reply's body, without its content coding. */
  write(bytes: Uint8Array | string): void;
  /** The reply is over: whole, or as `ending` says. The first of `end` and `close` counts. */
  end(ending?: CallFailure | null): void;
  close(): void;
}

/** One use of a tool. Who it was for comes from the scope where it does not say so. */
export interface ToolEvent {
  toolId: string;
  /** Default: 'execute'. */
  operation?: string;
  durationMs?: number;
  /** Default: true, unless there is an error. */
  success?: boolean;
  /** Its begin: RFC 3339, or milliseconds since 1970. */
  timestamp?: string | number;
  errorType?: string;
  /** Sent with the setting `capture_error_messages` only. */
  errorMessage?: string;
  /** Yours: events that share one are told apart. */
  transactionId?: string;
  costUsd?: number;
  /** What the tool used or made. */
  usageMetadata?: Record<string, unknown>;
  agent?: string;
  organizationName?: string;
  productName?: string;
  subscriberCredential?: string;
  workflowId?: string;
  traceId?: string;
  agenticJobId?: string;
}

/** Meter one use of a tool. Each event is one billable transaction at Revenium. Never waits for the network. */
export function toolEvent(event: ToolEvent): Recorded;

/** Run a tool and meter it: how long it took, and whether it failed. Gives what the tool gives, a promise or a value. */
export function meterTool<R>(toolId: string, tool: () => R, more?: Partial<ToolEvent>): R;
