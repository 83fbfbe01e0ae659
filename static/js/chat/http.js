// JSON to and from the site, with the session's cookie and the form token.

const token = () => document.querySelector("input[name=csrfmiddlewaretoken]").value;

export class HttpError extends Error {
  constructor(status, error) {
    super(error?.text ?? `HTTP ${status}`);
    this.status = status;
    this.code = error?.code ?? "";
  }
}

/** Resolves to the JSON answer; throws HttpError with the site's sentence. */
export async function get(url) {
  return answerOf(await fetch(url, { headers: { Accept: "application/json" } }));
}

/** As `get`. `isLast`: sent even when the page is being left. */
export async function post(url, body = {}, { isLast = false } = {}) {
  return answerOf(
    await fetch(url, {
      method: "POST",
      keepalive: isLast,
      headers: { "Content-Type": "application/json", "X-CSRFToken": token() },
      body: JSON.stringify(body),
    }),
  );
}

async function answerOf(response) {
  if (response.status === 401) location.assign("/accounts/sign-in/");
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new HttpError(response.status, body.error);
  return body;
}
