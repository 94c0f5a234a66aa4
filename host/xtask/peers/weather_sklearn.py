"""The weather learned by scikit-learn without a gate: the peer of `cargo xtask bench backtest`.

    weather_sklearn.py WEATHER.csv

The first tenth of the rows warms up. From there a perceptron with 32 hidden units is trained every 1,000 rows on the last 4,000, and
every row is predicted before any model has learned from it. Prints a list with one entry as JSON, with the keys of
`tidegate backtest --json` that make sense here; kappa compares with predicting the label of the day before.
"""

import json
import os
import sys
import time
import warnings

# One thread, because the products are too small to share out.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

EVERY, WINDOW, SEED = 1000, 4000, 0
warnings.simplefilter("ignore", ConvergenceWarning)

start = time.perf_counter()
weather = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1)
features, rain = weather[:, 1:-1], weather[:, -1].astype(int)
first = len(rain) // 10

predicted, trainings = [], 0
for now in range(first, len(rain), EVERY):
    past = slice(max(0, now - WINDOW), now)
    learner = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=60, random_state=SEED))
    learner.fit(features[past], rain[past])
    trainings += 1
    predicted.append(learner.predict(features[now : now + EVERY]))
predicted, truth = np.concatenate(predicted), rain[first:]

accuracy = accuracy_score(truth, predicted)
no_change = accuracy_score(truth, rain[first - 1 : -1])
print(json.dumps([{
    "settings": f"scikit-learn, every {EVERY} on {WINDOW}",
    "seed": SEED,
    "accuracy": accuracy,
    "f1": f1_score(truth, predicted),
    "kappa_no_change": (accuracy - no_change) / (1 - no_change),
    "trainings": trainings,
    "seconds": time.perf_counter() - start,
}]))
