"""What all tests share: Hypothesis without deadlines, since the machine's cores are shared with neighbours."""

from hypothesis import HealthCheck, settings

settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")
