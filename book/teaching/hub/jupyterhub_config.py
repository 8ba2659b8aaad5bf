# What tljh-config cannot set. tljh.sh copies this file to the folder
# /opt/tljh/config/jupyterhub_config.d; a JupyterHub of your own reads it too.
c = get_config()  # noqa: F821

# Torch counts the cores of the server, not those of a student's limit.
c.Spawner.environment = {"OMP_NUM_THREADS": "1"}

# Of a class that comes through the door at once, so many start at a time;
# the browsers of the others try again by themselves.
c.JupyterHub.concurrent_spawn_limit = 10
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 120
