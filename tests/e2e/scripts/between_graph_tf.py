"""Fits a line by between-graph replication: variables on the parameter server, a training loop in each worker.

The job is over when worker 0 ends, so it waits for the others.
"""

import argparse
import os
import pathlib
import time

import tensorflow.compat.v1 as tf

parser = argparse.ArgumentParser()
for name in ("job_name", "ps_hosts", "worker_hosts"):
    parser.add_argument(f"--{name}")
parser.add_argument("--task_index", type=int)
arguments = parser.parse_args()

tf.disable_v2_behavior()
cluster = tf.train.ClusterSpec({"ps": arguments.ps_hosts.split(","), "worker": arguments.worker_hosts.split(",")})
server = tf.distribute.Server(cluster, job_name=arguments.job_name, task_index=arguments.task_index)
if arguments.job_name == "ps":
    print("serving", flush=True)
    server.join()

with tf.device(tf.train.replica_device_setter(cluster=cluster)):
    step = tf.train.get_or_create_global_step()
    slope = tf.get_variable("slope", (), initializer=tf.zeros_initializer())
    inputs = tf.random.uniform((32,))
    loss = tf.reduce_mean((slope * inputs - 3 * inputs) ** 2)
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, global_step=step)

hooks = [tf.train.StopAtStepHook(last_step=600)]
with tf.train.MonitoredTrainingSession(server.target, is_chief=arguments.task_index == 0, hooks=hooks) as session:
    while not session.should_stop():
        _, value = session.run([train, slope])
print(f"trained to {value:.2f}", flush=True)
assert abs(value - 3) < 0.5
done = pathlib.Path(os.environ["AZ_BATCHAI_SHARED_JOB_TEMP"])
(done / f"done-{arguments.task_index}").touch()
while arguments.task_index == 0 and len(list(done.glob("done-*"))) < len(cluster.job_tasks("worker")):
    time.sleep(0.1)
