"""What if, as answers: changes on a copy of a model, and images that are read as something else."""

import numpy as np

from ..microscope.what_if import WhatIf, fool
from ..model import Sequential
from ..run_folder import OPTIMIZERS
from . import schemas as s
from .choices import usual_rate
from .fields import Array
from .inspection import asked_about, optional
from .turns import Turns


def what_if(turns: Turns, model: Sequential, query: s.WhatIfQuery) -> s.WhatIfAnswer:
    with turns, np.errstate(all="ignore"):  # a large step may leave the finite numbers
        label = query.label
        if label is None:
            label = int(model.predict(query.pixels).argmax())
        with asked_about():
            tried = WhatIf(model, query.pixels, label)
            for change in query.changes:
                _do(tried, change)
            was, now = (t[query.look or 0] for t in (tried.before, tried.now))
    moments = [
        s.Moment(loss=t.loss, probabilities=t.probabilities.tolist())
        for t in (tried.before, tried.now)
    ]
    return s.WhatIfAnswer(
        label=label,
        digit=int(tried.now.probabilities.argmax()),
        changes=tried.changes,
        before=moments[0],
        now=moments[1],
        losses=list(tried.losses),
        moved=[s.Moved(**row) for row in tried.rows()],
        look=now.name,
        output_before=Array.of(was.output),
        output_now=Array.of(now.output),
        dy_before=optional(was.dy),
        dy_now=optional(now.dy),
    )


def _do(tried: WhatIf, change: s.WhatIfChange) -> None:
    match change:
        case s.SwitchOff():
            tried.off(change.layer, change.unit)
        case s.SetWeight():
            tried.set(f"{change.layer}.{change.parameter}", change.index, change.value)
        case s.Paint():
            tried.paint(change.pixels)
        case s.Learn():
            rate = change.learning_rate or usual_rate(change.optimizer)
            tried.learn(change.steps, OPTIMIZERS[change.optimizer](rate))


def fooled(turns: Turns, model: Sequential, query: s.FoolQuery) -> s.FoolAnswer:
    with turns, asked_about():
        found = fool(model, query.pixels, query.target, query.steps)
    return s.FoolAnswer(
        target=found.target,
        succeeded=found.succeeded,
        steps=found.steps,
        length=found.size,
        digit=int(found.probabilities[-1].argmax()),
        pixels=np.rint(found.x[..., 0] * 255).astype(int).tolist(),
        perturbation=Array.of(found.perturbation),
        path=found.probabilities.tolist(),
    )
