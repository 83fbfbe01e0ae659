// Tells that the session has ended, over the page and not instead of it: what is being written goes
// on in the composer and is kept, and what was asked is sent after signing in.

import { byId } from "../dom.js";

export const SIGNED_OUT = "signed-out";

/** Call when the site says that nobody is signed in any more. */
export const tellSignedOut = () => document.dispatchEvent(new Event(SIGNED_OUT));

export function listenToSessionEnd() {
  const dialog = byId("session-end", HTMLDialogElement);
  let isLeaving = false;
  byId("sign-out", HTMLFormElement).addEventListener("submit", () => (isLeaving = true));
  document.addEventListener(SIGNED_OUT, () => {
    if (isLeaving || dialog.open) return;
    const focused = document.activeElement;
    byId("sign-in", HTMLAnchorElement).href = `/accounts/sign-in/?next=${encodeURIComponent(location.pathname)}`;
    dialog.show(); // not modal, and without the focus: the next keys still belong to the text
    if (focused instanceof HTMLElement) focused.focus();
  });
}
