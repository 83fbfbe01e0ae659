"""Settings of the site, all from environment variables (docs/configuration.md)."""

from __future__ import annotations

import datetime as dt
import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONCE as CSP_NONCE
from csp.constants import NONE as CSP_NONE
from csp.constants import SELF as CSP_SELF
from django.core.exceptions import ImproperlyConfigured

from chatsite.private_files import NotPrivate, keep_private
from chatsite.secret_key import stored_secret_key
from inference import env

BASE_DIR = Path(__file__).resolve().parent.parent


def database_of(url: str, *, data_dir: Path) -> dict[str, Any]:
    """PostgreSQL or another by DATABASE_URL; else SQLite in the data folder.

    Without IMMEDIATE and the time-out, eight threads writing at once lose 450 of 1,200 transactions
    to "database is locked".
    """
    if url:
        try:
            return dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
        except ValueError as error:
            raise ImproperlyConfigured(f"DATABASE_URL: {error}") from None
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": data_dir / "db.sqlite3",
        "CONN_MAX_AGE": 60,  # to open the file anew costs a request a millisecond
        "TEST": {"NAME": data_dir / "test.sqlite3"},  # a file: threads and processes share it
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


def own_redis_url(data_dir: Path) -> str:
    """Where the Redis of the site that runs with this data folder listens; "" if none is noted."""
    try:
        return (data_dir / "run" / "redis_url").read_text()
    except OSError:
        return ""


def networks_of(name: str, default: list[str]) -> list[IPv4Network | IPv6Network]:
    """The networks that an environment variable names."""
    try:
        return [ip_network(word) for word in env.words(name, default)]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}.") from None


DATA_DIR = Path(env.text("CHATSITE_DATA") or BASE_DIR / "var").resolve()
try:
    keep_private(DATA_DIR)
except NotPrivate as error:
    raise ImproperlyConfigured(f"CHATSITE_DATA: {error}") from None
except OSError as error:
    raise ImproperlyConfigured(f"CHATSITE_DATA: {DATA_DIR}: {error.strerror}.") from None
MIN_FREE_MB = env.whole_number("MIN_FREE_MB", 100, low=0)  # with less, no question is taken

SECRET_KEY = env.text("SECRET_KEY") or stored_secret_key(DATA_DIR)
DEBUG = env.boolean("DEBUG", False)
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", [])
GIVEN_REDIS_URL = env.text("REDIS_URL")
REDIS_URL = GIVEN_REDIS_URL or own_redis_url(DATA_DIR) or "redis://127.0.0.1:6379/0"
os.environ["REDIS_URL"] = REDIS_URL  # inference/ reads it there
HOST = env.text("HOST", "127.0.0.1")
PORT = env.whole_number("PORT", 8000, low=1)
PUBLIC_URL = env.text("PUBLIC_URL")  # where people find the site, when a proxy stands before it
OWN_NAME = f"[{HOST}]" if ":" in HOST else HOST
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", OWN_NAME])
CHATSITE_MODEL = env.text("CHATSITE_MODEL", "smollm2-135m-instruct")

INSTALLED_APPS = [
    "daphne",
    "chatsite.dashboards.admin_app.ChatsiteAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "axes",
    "chatsite.supervisor",
    "chatsite.accounts",
    "chatsite.catalog",
    "chatsite.generation",
    "chatsite.chat",
    "chatsite.dashboards",
    "chatsite.api",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "chatsite.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "chatsite.server.private_pages.PrivatePages",
    "django.middleware.locale.LocaleMiddleware",
    "chatsite.server.reader_zone.reader_zone",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "chatsite.urls"
ASGI_APPLICATION = "chatsite.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {"default": database_of(env.text("DATABASE_URL"), data_dir=DATA_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Wake-ups and list changes only. The pub/sub layer outlives its Redis: it subscribes again, whereas
# the other one raises out of the consumer and ends the socket.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "chatsite.server.channel_layer.GroupChannelLayer",
        "CONFIG": {
            "hosts": [
                {"address": REDIS_URL, "max_connections": 1000, "socket_connect_timeout": 1.0}
            ]
        },
    }
}

# People: who may come in, and how often they may try.
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "accounts:sign-in"
SIGN_UP = env.choice("SIGN_UP", "invitation", ("open", "invitation", "closed"))
INVITATION_HOURS = env.whole_number("INVITATION_HOURS", 72, low=1)
UNDO_MINUTES = env.whole_number("UNDO_MINUTES", 30, low=1)  # deleted conversations can be restored
MAX_CONCURRENT_ANSWERS = env.whole_number("MAX_CONCURRENT_ANSWERS", 4, low=1)
SAVE_TOKEN_TRACES = env.boolean("SAVE_TOKEN_TRACES", True)  # how each token of a chat was chosen
RESUME_INTERRUPTED = env.boolean("RESUME_INTERRUPTED", True)  # when a worker is back
AXES_FAILURE_LIMIT = env.whole_number("SIGN_IN_TRIES", 8, low=1)  # of a name from an address
SIGN_IN_TRIES_PER_NAME = env.whole_number("SIGN_IN_TRIES_PER_NAME", 24, low=1)
SIGN_IN_TRIES_PER_ADDRESS = env.whole_number("SIGN_IN_TRIES_PER_ADDRESS", 32, low=1)
AXES_COOLOFF_TIME = dt.timedelta(minutes=15)
AXES_HANDLER = "chatsite.accounts.throttle.SignInThrottle"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], ["username"], ["ip_address"]]
AXES_SENSITIVE_PARAMETERS = ["old_password", "new_password1", "new_password2"]  # never stored
AXES_CLIENT_IP_CALLABLE = "chatsite.accounts.addresses.client_address"
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "accounts/locked_out.html"
AXES_HTTP_RESPONSE_CODE = 429
AXES_VERBOSE = False

# What the browser is told: nothing inline but the import map, nothing foreign, no eval.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [CSP_SELF],
        "script-src": [CSP_SELF, CSP_NONCE],  # the nonce is the import map's, where there is one
        "img-src": [CSP_SELF, "data:"],
        "object-src": [CSP_NONE],
        "base-uri": [CSP_NONE],
        "form-action": [CSP_SELF],
        "frame-ancestors": [CSP_NONE],
    }
}
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
BEHIND_TLS = env.boolean("BEHIND_TLS", False)
# Whose X-Forwarded-For is believed: addresses or networks of the proxies before the site.
TRUSTED_PROXIES = networks_of("TRUSTED_PROXIES", ["127.0.0.0/8", "::1"] if BEHIND_TLS else [])
if BEHIND_TLS:  # a proxy terminates TLS and sets the header
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_HSTS_SECONDS = env.whole_number("HSTS_SECONDS", 31_536_000, low=0)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.boolean("HSTS_INCLUDE_SUBDOMAINS", False)
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("pt-br", "Portuguese")]  # whole ones: Django speaks many more
LANGUAGE_COOKIE_NAME = "language"  # what somebody chose; without it the browser's own decides
LANGUAGE_COOKIE_AGE = 365 * 86_400
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
TIME_ZONE = "UTC"
USE_I18N = True
FORMAT_MODULE_PATH = ["chatsite.formats"]
USE_TZ = True
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "chatsite.static_files.HashedStorage"},
}
STATIC_CACHE = Path(env.text("CHATSITE_STATIC") or DATA_DIR / "static")  # compressed copies
WHITENOISE_USE_FINDERS = True  # served where they lie: nothing to collect, nothing stale
WHITENOISE_AUTOREFRESH = env.boolean("DEBUG", False)
LOCALE_PATHS = [BASE_DIR / "locale"]

# Logs say what happened to which request, never what anybody wrote.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "filters": {"outages": {"()": "inference.client.OneLinePerOutage"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "plain",
            "filters": ["outages"],
        }
    },
    "root": {"handlers": ["console"], "level": env.text("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "httpx": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "axes": {"level": "ERROR"},  # accounts/throttle.py says it with the address
    },
}

# The API for programs (chatsite/api), and what the web server takes from anybody.
API_MAX_BODY_BYTES = env.whole_number("API_MAX_BODY_BYTES", 8_000_000, low=1000)
API_MAX_UNFINISHED = env.whole_number(
    "API_MAX_UNFINISHED", 256, low=1
)  # of one owner's keys together
API_CORS_ORIGINS = [  # pages of these sites may call the API; "*": of any
    origin.lower().rstrip("/") for origin in env.words("API_CORS_ORIGINS", [])
]
API_HEARTBEAT_S = env.whole_number("API_HEARTBEAT_S", 10, low=1)  # a stream is silent no longer
DATA_UPLOAD_MAX_MEMORY_SIZE = API_MAX_BODY_BYTES + 1  # so that the API words its own refusal
MAX_BODY_S = env.whole_number("MAX_BODY_S", 30, low=1)  # a request's body must have arrived by then
MAX_UNREAD_S = env.whole_number("MAX_UNREAD_S", 30, low=1)  # a client that reads nothing is cut off
