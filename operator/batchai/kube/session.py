"""HTTP sessions with the address and the credentials of the pod's service account, or of a kubeconfig."""

import os
import ssl
from dataclasses import dataclass

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

_TOTAL_SECONDS = 30.0


@dataclass(frozen=True)
class Connection:
    """A session that authenticates each request, and the API server's address."""

    session: aiohttp.ClientSession
    server: str


async def connect() -> Connection:
    """Opens the session; the caller closes it."""
    configuration = Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        await load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]

    async def authenticate(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # Asked for each request, because service account tokens expire and are read again.
        token = await configuration.get_api_key_with_prefix("BearerToken")
        if token:
            request.headers["Authorization"] = token
        return await handler(request)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=_tls(configuration)),
        timeout=aiohttp.ClientTimeout(total=_TOTAL_SECONDS),
        middlewares=(authenticate,),
    )
    return Connection(session, str(configuration.host))


def _tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
