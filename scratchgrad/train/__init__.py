"""Training: settings, the step, the loop round it, and everything a run leaves behind.

Reading order: ``config`` (the numbers and the presets), ``trainer`` (one step), ``loop`` (when to
evaluate, sample and save), ``checkpoint`` and ``run`` (what lies on the disk), ``session`` (how a
run is begun or taken up again), ``progress`` and ``plot`` (what a person sees).

Nothing is imported here, so that ``scratchgrad --help`` may read the presets without NumPy.
"""
