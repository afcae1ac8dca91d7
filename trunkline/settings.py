"""Every setting of an installation, in one class: the only reader of the environment.

A value comes from `TRUNKLINE_<NAME>` in the environment, else from `<name>` in `trunkline.toml`
(in the working directory, or where `TRUNKLINE_CONFIG` says), else from the default here.
`docs/settings.md` is generated from this class.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from trunkline.errors import UserError
from trunkline.kinds import BusUrl, DatabaseUrl, PublicHost, TwilioAccount, UrlKey, WebUrl
from trunkline.listen import (
    HostPort,
    HttpAddress,
    Networks,
    PortRange,
    RtpPorts,
    SipAddresses,
    SipCodecs,
    SipListen,
)

PREFIX = "TRUNKLINE_"
CONFIG_VARIABLE = "TRUNKLINE_CONFIG"
CONFIG_FILE = "trunkline.toml"
EXAMPLE_AGENTS = Path(__file__).with_name("agents.example.yaml")

_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class SettingsError(UserError):
    """A setting is wrong. The message names the variable, its value and the mend: print it."""


class Settings(BaseSettings):
    """The settings of an installation; the same for every process of it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        enable_decoding=False,  # no field is written as JSON
        env_ignore_empty=True,  # compose files pass on what is not set as empty
    )

    data_dir: Annotated[Path, Field(examples=["/var/lib/trunkline"])] = Path("var")
    """Folder for whatever is kept here: the SQLite file, recordings, the embedded bus."""

    bus_url: Annotated[BusUrl | None, Field(examples=["redis://redis:6379/0"])] = None
    """Redis >= 6.2 or Valkey: redis://, rediss:// or unix://. Without it `trunkline up` starts a
    server of its own in DATA_DIR."""

    database_url: Annotated[
        DatabaseUrl, Field(examples=["postgresql://trunkline:secret@postgres/trunkline"])
    ] = ""
    """Postgres or SQLite. Without it: the file trunkline.db in DATA_DIR."""

    sip_tls_certificate: Annotated[
        Path | None, Field(examples=["/etc/trunkline/sip.example.com.pem"])
    ] = None
    """Our certificate for SIP over TLS, a PEM file with the intermediate ones after it. When it or
    the key is replaced, whoever connects next is shown the new one; calls go on."""

    sip_tls_key: Annotated[Path | None, Field(examples=["/etc/trunkline/sip.example.com.key"])] = (
        None
    )
    """The certificate's private key, a PEM file without a passphrase."""

    sip_tls_ca: Annotated[Path | None, Field(examples=["/etc/trunkline/trunk-ca.pem"])] = None
    """Whose certificates are believed, a PEM file: a trunk that is connected to by TLS has to prove
    its name. Without it those that the machine trusts."""

    sip_tls_clients: Annotated[Literal["any", "verified"], Field()] = "any"
    """verified: whoever connects to us by TLS has to show a certificate of SIP_TLS_CA too."""

    sip_listen: Annotated[
        SipAddresses, Field(examples=["udp:192.0.2.10:5060,tcp:192.0.2.10:5060,tls:[::]:5061"])
    ] = (
        # A phone on the LAN is to get through; SIP's port is meant to be open.
        SipListen("udp", "0.0.0.0", 5060),  # noqa: S104
        SipListen("tcp", "0.0.0.0", 5060),  # noqa: S104
    )
    """Where phones and trunks reach us by SIP: transport (udp, tcp or tls), address, port (0: any
    free one), and so on after a comma. IPv6 addresses stand in brackets; tls needs
    SIP_TLS_CERTIFICATE and SIP_TLS_KEY."""

    sip_rate: Annotated[float, Field(ge=1, le=100_000, examples=[50])] = 50.0
    """SIP messages a second that one source (an IPv4 address, an IPv6 /64) may send, twice as many
    at once; more are dropped unread. Trunks and this machine itself have no limit."""

    rtp_ports: Annotated[RtpPorts, Field(examples=["20000-20999"])] = PortRange(20000, 29999)
    """UDP ports for the calls' audio, two per call; open them in the firewall beside SIP's."""

    public_address: Annotated[PublicHost | None, Field(examples=["203.0.113.7"])] = None
    """IP address that callers reach us by, written into SIP and SDP. Set it behind NAT; without it
    the address of the network interface towards the caller is used."""

    http_listen: Annotated[HttpAddress, Field(examples=["0.0.0.0:8080"])] = HostPort(
        "127.0.0.1", 8080
    )
    """Where the dashboard is served. The default is for this machine only; put a TLS proxy in
    front before you open it."""

    metrics_listen: Annotated[HttpAddress | None, Field(examples=["127.0.0.1:0"])] = None
    """Where each role process serves /metrics and /health. Off without it. Port 0 gives each
    process a free one (`trunkline status` shows it), which several processes on a host need."""

    agents: Annotated[Path, Field(examples=["/etc/trunkline/agents.yaml"])] = Path()
    """The agents' file. Without it: agents.yaml in the working directory, else the worked example
    that comes with Trunkline."""

    sip_codecs: Annotated[SipCodecs, Field(examples=["PCMU,PCMA"])] = (
        "PCMU",
        "PCMA",
        "G722",
        "opus",
    )
    """Codecs that callers may speak who come by no trunk, the best first: of those that a caller
    offers, the first of these is taken. Audio is 8 kHz on the bus whichever it is, and G.711 costs
    least; between its two laws the caller decides."""

    sip_srtp: Annotated[Literal["off", "allowed", "required"], Field()] = "allowed"
    """SRTP with callers who come by no trunk: never, with whoever offers it (by SDES or DTLS), or
    with all, where others get 488."""

    sip_session_timer_seconds: Annotated[int, Field(ge=0, le=86_400, examples=[1800])] = 1800
    """How often a call is asked whether it still lives, s (RFC 4028); 0 for never, unless a peer
    wants it. The least is 90."""

    sip_tone_detection: Annotated[bool, Field()] = False
    """Also take keys by their tones in the audio, for callers whose phones send no RFC 4733."""

    web_listen: Annotated[HttpAddress | None, Field(examples=["127.0.0.1:8088"])] = None
    """Where carriers reach us by HTTP and WebSocket: their webhooks and media streams. Off without
    it. Carriers want TLS with a name's certificate: put a proxy in front."""

    public_url: Annotated[WebUrl | None, Field(examples=["https://voice.example.com"])] = None
    """How carriers write WEB_LISTEN: scheme, host, and what a proxy takes off the path. Twilio
    signs this URL. Without it a request's X-Forwarded-Proto and -Host are used if it comes from
    TRUSTED_PROXIES, else its Host; calls cannot be placed by Twilio."""

    trusted_proxies: Annotated[Networks, Field(examples=["10.1.2.3"])] = (
        "127.0.0.0/8",
        "::1/128",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
    )
    """Whose word for the request's URL and its sender is taken (X-Forwarded-...): addresses or
    networks, with commas between; or none."""

    web_rate: Annotated[float, Field(ge=1, le=100_000, examples=[50])] = 50.0
    """Webhook requests a second that one source (an IPv4 address, an IPv6 /64) may send, twice as
    many at once; more get 429."""

    web_message_rate: Annotated[float, Field(ge=60, le=100_000, examples=[200])] = 200.0
    """Messages a second that one media stream may send. Carriers send 50 of audio, and some at
    once when the network was slow; a stream that goes on above this is closed."""

    stream_key: Annotated[UrlKey | None, Field(examples=["32 or more random letters"])] = None
    """The secret in the media streams' URLs of Telnyx, Plivo and Vonage:
    wss://HOST/telnyx/media?key=... Without it those streams are refused."""

    twilio_account_sid: Annotated[
        TwilioAccount | None, Field(examples=["ACXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"])
    ] = None
    """Twilio's account. Needed to transfer, to send keys and to place calls; requests of another
    account are refused."""

    twilio_auth_token: Annotated[
        SecretStr | None,
        Field(validate_default=True, examples=["the auth token of the Twilio console"]),
    ] = None
    """Twilio's secret: what its webhooks are signed with. Without it they are refused."""

    twilio_number: Annotated[str | None, Field(examples=["+15550100"])] = None
    """The number of ours that is shown when Twilio places a call and its asker names none."""

    twilio_api_url: Annotated[WebUrl, Field(examples=["https://api.dublin.ie1.twilio.com"])] = (
        "https://api.twilio.com"
    )
    """Twilio's REST API, for accounts of another region."""

    twilio_unsigned: Annotated[bool, Field()] = False
    """For development: also take webhooks without a signature and streams without a token, from
    TRUSTED_PROXIES' networks only. Whoever reaches WEB_LISTEN from there can make calls."""

    trunks: Annotated[Path | None, Field(examples=["/etc/trunkline/trunks.yaml"])] = None
    """The trunks' file: who may call, where calls go out, which phones register here. Without it
    anybody may call, nothing is registered, and no phone can register."""

    admin_password: Annotated[SecretStr | None, Field(examples=["a long passphrase"])] = None
    """The dashboard's password. Without it one is made on first start and printed once."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field()] = "info"
    """The least important line that is still written."""

    log_format: Annotated[Literal["auto", "json", "console"], Field()] = "auto"
    """auto: JSON, unless stderr is a terminal."""

    lease_ms: Annotated[int, Field(ge=200, le=60_000, examples=[1000])] = 1000
    """How long, in ms, a worker that went silent keeps its calls. About the gap that a caller
    notices when a worker dies; under load less than 1000 takes calls from healthy workers."""

    max_calls: Annotated[int, Field(ge=1, le=10_000, examples=[200])] = 200
    """Calls that one sip or web process admits; past it the caller gets 503, or is busy."""

    max_call_seconds: Annotated[float, Field(gt=0, le=14_400, examples=[3600])] = 3600.0
    """How long a call may last, in s; then it is ended. The bus keeps its audio as long."""

    asr_capacity: Annotated[int, Field(ge=1, le=10_000, examples=[25])] = 25
    """Calls that one asr process listens to at once; when all are full, new callers get 503."""

    llm_capacity: Annotated[int, Field(ge=1, le=10_000, examples=[50])] = 50
    """Replies that one llm process has in hand at once; a long one is until it is nearly heard."""

    tts_capacity: Annotated[int, Field(ge=1, le=10_000, examples=[50])] = 50
    """Sentences that one tts process synthesizes at once."""

    pool_grace_seconds: Annotated[float, Field(ge=0, le=600, examples=[10])] = 10.0
    """How long, in s, a whole pool of workers (asr, llm or tts) may be away, as while it restarts,
    before new callers get 503."""

    max_lag_seconds: Annotated[float, Field(gt=0, le=600, examples=[3])] = 3.0
    """How long, in s, the oldest turn or sentence may wait for a worker before new callers get
    503."""

    drain_seconds: Annotated[float, Field(ge=0, le=3600, examples=[30])] = 30.0
    """How long, in s, a sip or web process that was told to stop waits for its calls to end by
    themselves before it hangs up."""

    bus_patience_seconds: Annotated[float, Field(ge=0, le=600, examples=[10])] = 10.0
    """How long, in s, a call outlives a bus that does not answer. (A process that starts waits for
    it, and for the database, as long as it takes.)"""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the TOML file."""
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=config_file()),
        )

    @field_validator("sip_session_timer_seconds")
    @classmethod
    def _least_timer(cls, value: int) -> int:
        if 0 < value < 90:  # RFC 4028 section 4
            raise ValueError("write 90 or more, or 0 for never")
        return value

    @field_validator("data_dir", "sip_tls_certificate", "sip_tls_key", "sip_tls_ca")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("sip_tls_clients")
    @classmethod
    def _by_whom(cls, value: str, info: ValidationInfo) -> str:
        if value == "verified" and info.data.get("sip_tls_ca") is None:
            raise ValueError(f"set {PREFIX}SIP_TLS_CA to the file of whom to believe")
        return value

    @field_validator("sip_listen")
    @classmethod
    def _has_certificate(
        cls, value: tuple[SipListen, ...], info: ValidationInfo
    ) -> tuple[SipListen, ...]:
        for name in ("sip_tls_certificate", "sip_tls_key"):
            if info.data.get(name) is None and any(one.transport == "tls" for one in value):
                raise ValueError(f"tls needs {PREFIX}{name.upper()}")
        return value

    @field_validator("twilio_auth_token")
    @classmethod
    def _has_account(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("twilio_account_sid") is not None:
            raise ValueError(f"{PREFIX}TWILIO_ACCOUNT_SID is of no use without it")
        return value

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        """Settle the defaults that depend on other values, so that readers never meet a None."""
        if not self.database_url:
            path = self.data_dir / "trunkline.db"
            object.__setattr__(self, "database_url", f"sqlite:///{path}")
        if self.agents == Path():
            here = Path("agents.yaml")
            object.__setattr__(self, "agents", here if here.exists() else EXAMPLE_AGENTS)
        object.__setattr__(self, "agents", self.agents.expanduser().absolute())
        if self.trunks is not None:
            object.__setattr__(self, "trunks", self.trunks.expanduser().absolute())
        return self

    @property
    def recordings_dir(self) -> Path:
        """Where the recorder keeps WAV files."""
        return self.data_dir / "recordings"

    def capacity(self, role: str) -> int:
        """How many jobs one process of a pool owns at once ("asr", "llm" or "tts")."""
        return {"asr": self.asr_capacity, "llm": self.llm_capacity, "tts": self.tts_capacity}[role]

    def secret(self, name: str) -> str | None:
        """Look up a provider's key by the environment variable that holds it; None if unset.

        Raises:
            SettingsError: `name` could not be a variable's.
        """
        if not _SECRET_NAME.fullmatch(name):
            raise SettingsError(f"{name[:60]!r} is no variable's name; write like OPENAI_API_KEY")
        return os.environ.get(name) or None

    def as_environment(self, **changes: str) -> dict[str, str]:
        """The environment for a child process that is to see these very settings.

        Args:
            changes: Fields to change on the way, by name, as they would be written.
        """
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(PREFIX)
        }
        # What is not a setting of ours may be a provider's key.
        inherited |= {name: os.environ[name] for name in unknown_variables()}
        own: dict[str, str] = {}
        for name, value in self.model_dump(mode="json").items():
            if value is not None:
                own[PREFIX + name.upper()] = str(value)
        for name in SECRETS:  # model_dump hides them
            if (secret := getattr(self, name)) is not None:
                own[PREFIX + name.upper()] = secret.get_secret_value()
        return inherited | own | {PREFIX + name.upper(): text for name, text in changes.items()}


#: Fields that are shown to nobody.
SECRETS: Final = ("admin_password", "stream_key", "twilio_auth_token")


def config_file() -> Path | None:
    """The TOML file in use, if any."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path(CONFIG_FILE) if Path(CONFIG_FILE).exists() else None


def unknown_variables() -> list[str]:
    """Variables that look like settings and are none: often a slip of the pen."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def load_settings(**values: Any) -> Settings:
    """Read the settings.

    Args:
        values: Fields given otherwise (a command's option): they win over environment and file.

    Raises:
        SettingsError: one line per wrong value: which, what it was, and how to mend it.
    """
    file = config_file()
    if file is not None:
        _check_file(file)
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(one, file) for one in error.errors())) from None


def _check_file(file: Path) -> None:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{CONFIG_VARIABLE}={file}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None
    for name in content:
        if name not in Settings.model_fields:
            raise SettingsError(f"{file}: no setting is named {name!r}{did_you_mean(name)}")


def did_you_mean(name: str) -> str:
    """Complete a message about a wrong setting's name with the nearest right one, if any."""
    plain = name.removeprefix(PREFIX).lower()
    close = difflib.get_close_matches(plain, Settings.model_fields, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; docs/settings.md lists them"


def _explain(error: Any, file: Path | None) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    variable = PREFIX + name.upper()
    in_file = file is not None and variable not in os.environ
    where = f"{file}: {name} = " if in_file else f"{variable}="
    secret = name in SECRETS or "@" in str(error["input"])
    shown = "(hidden)" if secret else repr(error["input"])
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}{shown}: {message}"
