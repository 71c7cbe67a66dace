"""The command line: the only room that knows Hydra.

What was typed (:mod:`arguments`) becomes what Hydra reads (:mod:`overrides`); Hydra composes it;
the settings get their types (:mod:`values`, :mod:`configuration`); the task runs (:mod:`main`).
"""
