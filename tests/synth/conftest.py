from hypothesis import settings

# No deadline: how long an example takes says something about the machine and nothing about the code.
settings.register_profile("synth", deadline=None)
settings.load_profile("synth")
