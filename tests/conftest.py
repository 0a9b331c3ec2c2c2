"""The same drawn cases in every run, so that a red test is red for everybody.

``pytest --hypothesis-profile=default`` draws new ones.
"""

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")
