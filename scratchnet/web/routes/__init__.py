"""The paths of the server, in files by subject. The API's description has the handlers' names."""

from . import digits, landscapes, models, pages, traces, training_runs, trying

#: in the order of the description
ROUTERS = (
    models.router,
    digits.router,
    traces.router,
    landscapes.router,
    trying.router,
    training_runs.router,
    pages.router,
)
