// Names the browser's time zone to the site, which then writes times and reads dates in it.
// A plain script: a page's import map must come before its first module.

{
  const COOKIE_S = 365 * 24 * 60 * 60;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const wanted = `zone=${encodeURIComponent(zone ?? "")}`;
  const isNamed = () => document.cookie.split("; ").includes(wanted);

  if (zone && !isNamed()) {
    const flags = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `${wanted}; path=/; max-age=${COOKIE_S}; samesite=lax${flags}`;
    // A page that was written in another zone is asked for once more; without cookies it stays.
    const written = document.querySelector("[data-zone]")?.getAttribute("data-zone");
    if (written && written !== zone && isNamed()) location.reload();
  }
}
