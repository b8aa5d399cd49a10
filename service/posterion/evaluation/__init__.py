"""How good a published bank is on labelled frames, and whether its flags mean errors.

For other programs: `bank_evaluation.evaluate_frames` asks a bank, `scores.score_frames` and
`scores.novelty` judge what it said; ``posterion evaluate`` is `command.run_evaluation`.
"""
