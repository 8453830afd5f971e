"""The load that may come until a pod asked for now serves: one prediction, and the distribution of the load about it.

Owns `ForecastState`: samples of the load, and each predictor's errors. May not know pods, queues or what is decided.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from corefit_core.recommender import error_budget, prediction_errors, predictors, service_model, spans
from corefit_core.recommender.error_budget import Served
from corefit_core.recommender.measurement import Measured
from corefit_core.recommender.prediction_errors import Assumed, Burst, Compared, Errors, Prediction
from corefit_core.recommender.predictors import Sample
from corefit_core.recommender.service_model import ServiceState
from corefit_core.recommender.types import Policy
from corefit_core.window import Timed


class ForecastState(msgspec.Struct, frozen=True, kw_only=True):
    """What the load was, and how far each predictor was off.

    Attributes:
        samples: offered load of the last minute, oldest first.
        peaks: the highest means of 15 s of the last quarter of an hour.
        predictions: those not yet compared with what came, and a stabilization window before them.
        pending: compared, but not learned from yet.
        compared_at: the newest prediction that was compared.
        errors: of each predictor.
        chosen: the number of the predictor that is used.
        chosen_at: when it was chosen.
        bursts: of the last hour.
    """

    samples: tuple[Sample, ...] = ()
    peaks: tuple[Timed, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    pending: tuple[Compared, ...] = ()
    compared_at: float = -math.inf
    errors: tuple[Errors, ...] = ()
    chosen: int = 0
    chosen_at: float = -math.inf
    bursts: tuple[Burst, ...] = ()


class Forecast(NamedTuple):
    """What the load may be. The distribution rests on what was learned up to the round before this one.

    Attributes:
        predicted: Erlangs when a pod asked for now serves, by the predictor that is used.
        distribution: (weight, load over prediction) of what may come, most load first.
        recent: Erlangs that are surely there: see `predictors.fallen_to`.
        highest: Erlangs of the highest 15 s of the last quarter of an hour.
        returns: how often in the last hour load came back to where it had been a quarter of an hour before.
    """

    predicted: float
    distribution: Sequence[tuple[float, float]]
    recent: float
    highest: float
    returns: int


def with_sample(before: ForecastState, measured: Measured, now: float) -> ForecastState:
    """With the load of this round, where it is known."""
    samples = tuple(s for s in before.samples if now - spans.SLOW_S < s.at)
    if measured.erlangs is not None:
        sample = Sample(
            at=now,
            erlangs=measured.erlangs,
            ceiling=measured.ceiling,
            arriving=measured.arriving,
            waiting=measured.waiting,
        )
        samples = (*samples, sample)
    return msgspec.structs.replace(before, samples=samples)


def learned(
    policy: Policy, before: ForecastState, known: ServiceState, served: Served, elapsed_s: float
) -> ForecastState:
    """With what this round says of the predictions that are due, and with new ones.

    Args:
        policy: has the window and the round.
        before: with the sample of this round.
        known: of the service.
        served: how the objective was kept, for what a predictor may leave unserved.
        elapsed_s: since the last round.
    """
    now, ahead_s = before.samples[-1].at, service_model.horizon_s(policy, known)
    # What is asked for serves a start-up later, and is let go when the window that began with the asking has passed.
    held_s = max(predictors.LEAST_S, service_model.window_s(policy, known) - ahead_s)
    due = [p for p in before.predictions if before.compared_at < p.at <= now - ahead_s]
    holding = [prediction_errors.held(before.predictions, p, held_s) for p in due]
    actual = predictors.mean(before.samples, now, spans.RECENT_S)
    seen = prediction_errors.bursts(before.bursts, actual, holding, ahead_s + spans.FAST_S, now)
    new = [Compared(now, h, actual) for h in holding]
    ripe, pending = prediction_errors.ripened(before.pending, new, seen, now, ahead_s)
    peaks = predictors.added(before.peaks, before.samples, now)
    prediction = Prediction(now, predictors.predict(before.samples, peaks, now))
    after = msgspec.structs.replace(
        before,
        peaks=peaks,
        errors=prediction_errors.learned(before.errors, ripe, elapsed_s),
        pending=pending,
        compared_at=max([before.compared_at, *(p.at for p in due)]),
        bursts=seen,
        predictions=(*(p for p in before.predictions if p.at > now - ahead_s - held_s), prediction),
    )
    # Errors of an hour change little in a round, and who goes from one predictor to another is held for both.
    if now - before.chosen_at < spans.SLOW_S:
        return after
    return msgspec.structs.replace(after, chosen=_best(policy, after, known, served), chosen_at=now)


def forecast(policy: Policy, before: ForecastState, known: ServiceState, after: ForecastState) -> Forecast:
    """What the load may be when a pod asked for now serves.

    Args:
        policy: has the round.
        before: as it was before this round: its lessons count, so that more load now never asks for less.
        known: of the service before this round.
        after: with this round.
    """
    errors = before.errors or prediction_errors.UNKNOWN
    prior, by_each = _assumed(policy, before, known)[before.chosen], after.predictions[-1].erlangs
    return Forecast(
        predicted=by_each[before.chosen] or by_each[0],
        distribution=prediction_errors.distribution(errors[before.chosen], _most(before), prior),
        recent=predictors.fallen_to(after.samples),
        highest=by_each[predictors.HIGHEST],
        returns=prediction_errors.returns(before.bursts),
    )


def rate(policy: Policy, state: ForecastState, known: ServiceState) -> float:
    """Requests a second of the last minute."""
    erlangs = predictors.mean(state.samples, state.samples[-1].at, spans.SLOW_S)
    return erlangs / service_model.mean_s(policy, known)


def _best(policy: Policy, state: ForecastState, known: ServiceState, served: Served) -> int:
    ahead_s, now_rate = service_model.horizon_s(policy, known), rate(policy, state, known)
    target = error_budget.scale_down_target(policy, served, ahead_s, now_rate)
    return prediction_errors.best(state.errors, _assumed(policy, state, known), target, _most(state))


def _assumed(policy: Policy, state: ForecastState, known: ServiceState) -> tuple[Assumed, ...]:
    predicted = state.predictions[-1].erlangs if state.predictions else (0.0,) * len(predictors.PREDICTORS)
    noise_s = service_model.mean_s(policy, known) * (1 + known.times.scv) / spans.RECENT_S
    return prediction_errors.assumed(predicted, service_model.horizon_s(policy, known), policy.round_s, noise_s)


def _most(state: ForecastState) -> float:
    """The load over the predicted one that pods are held for: bursts are provided for once they recur."""
    recur = len(state.bursts) >= prediction_errors.RECURS
    return prediction_errors.MOST if recur else prediction_errors.BURST
