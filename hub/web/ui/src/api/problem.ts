/** A refusal by the hub (RFC 9457), or no answer at all (`network.unreachable`). `code` is the i18n key `error.<code>`. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly extra: Record<string, unknown>;

  constructor(status: number, code: string, detail = "", extra: Record<string, unknown> = {}) {
    super(detail ? `${code}: ${detail}` : code);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.extra = extra;
  }
}

/** Reads a problem body; anything else (a proxy's HTML page, a validation list) becomes `http.<status>`. */
export function problemFrom(status: number, body: unknown): Problem {
  if (typeof body === "object" && body !== null && "code" in body && typeof body.code === "string") {
    const { code, detail, ...extra } = body as Record<string, unknown>;
    return new Problem(status, String(code), typeof detail === "string" ? detail : "", extra);
  }
  if (status === 422) return new Problem(status, "request.invalid", JSON.stringify(body)?.slice(0, 300) ?? "");
  return new Problem(status, `http.${status}`);
}

/** Any thrown thing as a problem, for error blocks. Programming errors keep their text as detail. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(0, "page.broken", error instanceof Error ? error.message : String(error));
}
