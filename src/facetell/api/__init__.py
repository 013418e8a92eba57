"""The public functions, one for each verb of the command, with the same names and the same arguments."""

from facetell.api.demo import demo
from facetell.api.fit import fit
from facetell.api.information import inspect, methods, verify
from facetell.api.judge import detect, evaluate
from facetell.data.prepare import prepare

__all__ = ["demo", "detect", "evaluate", "fit", "inspect", "methods", "prepare", "verify"]
