"""SAC's update, acting and a reward for one step as machine code, in place on torch's memory.

Networks this small are dispatch, not arithmetic: as one compiled function an update of 2 x 64 takes
an eighth of the time that the same mathematics take as calls of torch. The torch code in
`pbrl/agents/sac.py` is the reference: on the same rows and noise both give the same weights up to
rounding (tested, in float64 to 1e-9 after a hundred updates).

Samples are columns: x is [features, B], and a layer computes W x + b with W [out, in] and b [out],
a member's part of a `StackedMLP`. Products go to the BLAS that scipy ships; its threads are capped
by OPENBLAS_NUM_THREADS, as in every cell. Everything else is a loop. All of it takes float32 and
float64; `T` is the type at hand, without which a constant would turn float32 into float64.
Comparisons are written so that NaN passes: a network that diverged must not look healthy.
"""

import math
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from llvmlite.binding import get_host_cpu_name
from numba import njit
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import Tensor, optim

from bandits.compiled import can_keep
from pbrl.networks import StackedMLP

if TYPE_CHECKING:
    from pbrl.agents.sac import SAC

TANH_EPS = 1e-6  # SB3's, inside log(1 - tanh² + eps)
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
CACHE = can_keep(__file__)
# No fast math: what is rounded, and in which order, is what is written here. Else the process that
# compiles and those that load its code from the cache, where other calls are inlined, would differ
# in the last bit; and 1 - a² + eps would lose most digits of eps.
compiled = njit(error_model="numpy")


class Network(NamedTuple):
    """Members of one shape: per layer weights [members, out, in] and biases [members, 1, out]."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]


class Settings(NamedTuple):
    """Those of Adam."""

    rate: float
    beta1: float
    beta2: float
    eps: float


class Adam(NamedTuple):
    """An optimizer of a network, or of one array: gradient, moments, steps so far, settings."""

    gradient: Any
    m: Any
    v: Any
    steps: Any
    settings: Settings


# --- networks -------------------------------------------------------------------------------------


@compiled
def forward(net, k, x, slope):
    """Activations of member k: x [in, B], every hidden layer, the output [out, B].

    `slope` is that of the leaky ReLU between layers, 0 for ReLU.
    """
    h = [x]
    for layer in range(len(net.weights)):
        W, b = net.weights[layer][k], net.biases[layer][k, 0]
        z = np.empty((W.shape[0], x.shape[1]), x.dtype)
        np.dot(W, h[layer], z)
        is_hidden = layer + 1 < len(net.weights)
        for i in range(z.shape[0]):
            for j in range(z.shape[1]):
                value = z[i, j] + b[i]
                z[i, j] = value * slope if is_hidden and value < 0 else value
        h.append(z)
    return h


@compiled
def backward(net, k, h, d, gradient):
    """From d, the loss's gradient by member k's output, write those by its weights and biases.

    That by a bias is a sum over samples, here a product with ones.
    """
    ones = np.ones(d.shape[1], d.dtype)
    for layer in range(len(net.weights) - 1, -1, -1):
        np.dot(d, h[layer].T, gradient.weights[layer][k])
        np.dot(d, ones, gradient.biases[layer][k, 0])
        if layer > 0:
            d = through_layer(net.weights[layer][k], h[layer], d)
            gate(d, h[layer])


@compiled
def backward_to_input(net, k, h, d):
    """From d, the loss's gradient by member k's output, that by its input [in, B]."""
    for layer in range(len(net.weights) - 1, -1, -1):
        d = through_layer(net.weights[layer][k], h[layer], d)
        if layer > 0:
            gate(d, h[layer])
    return d


@compiled
def through_layer(W, x, d):
    """W' d, the gradient by the layer's input x."""
    of_x = np.empty_like(x)
    np.dot(W.T, d, of_x)
    return of_x


@compiled
def gate(d, h):
    """The ReLU's gradient: nothing passes where its result h is 0."""
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            if h[i, j] <= 0:
                d[i, j] = 0


# --- optimizers -----------------------------------------------------------------------------------


@compiled
def adam(net, a):
    """One step of Adam on every weight and bias."""
    p, g, m, v, t = all_of(net), all_of(a.gradient), all_of(a.m), all_of(a.v), all_of(a.steps)
    for i in range(len(p)):
        adam_step(flat(p[i]), flat(g[i]), flat(m[i]), flat(v[i]), t[i], a.settings)


@compiled
def adam_step(p, g, m, v, t, settings):
    """p -= rate · m̂ / (√v̂ + eps), m̂ and v̂ freed of their bias at step t (Kingma & Ba 2015)."""
    t[0] += 1
    T, (rate, beta1, beta2, eps) = p.dtype.type, settings
    rate, scale = T(rate / (1 - beta1 ** t[0])), T(1 / math.sqrt(1 - beta2 ** t[0]))
    new1, old2, new2, eps = T(1 - beta1), T(beta2), T(1 - beta2), T(eps)
    for i in range(p.size):
        m[i] += new1 * (g[i] - m[i])
        v[i] = old2 * v[i] + new2 * g[i] * g[i]
        p[i] -= rate * m[i] / (np.sqrt(v[i]) * scale + eps)


@compiled
def move_towards(target, net, tau):
    """target += tau · (net - target), for every weight and bias."""
    t, p = all_of(target), all_of(net)
    for i in range(len(t)):
        lerp(flat(t[i]), flat(p[i]), tau)


@compiled
def lerp(t, p, tau):
    for i in range(t.size):
        t[i] += tau * (p[i] - t[i])


@compiled
def all_of(net):
    """Its arrays, weights first: `Network`s of moments or steps have the same order."""
    return net.weights + net.biases


@compiled
def flat(array):
    return array.reshape(-1)


# --- the policy -----------------------------------------------------------------------------------


@compiled
def squash(out, noise, action):
    """From means and log standard deviations, out [2A, B], and noise [B, A]: write action [A, B].

    u = mean + std · noise, a = tanh u; returns std [A, B] and the log-probability of a [B],
    Σ over A of -½ noise² - log std - ½ log 2π - log(1 - a² + eps) (Haarnoja et al. 2018, app. C).
    """
    (A, B), T = action.shape, out.dtype.type
    one, half, eps, half_log_2pi = T(1), T(0.5), T(TANH_EPS), T(HALF_LOG_2PI)
    std, log_pi = np.empty((A, B), out.dtype), np.zeros(B, out.dtype)
    for j in range(A):
        for i in range(B):
            log_std, n = clamped(out[A + j, i], T(LOG_STD_MIN), T(LOG_STD_MAX)), noise[i, j]
            std[j, i] = np.exp(log_std)
            a = np.tanh(out[j, i] + std[j, i] * n)
            log_pi[i] += -half * n * n - log_std - half_log_2pi - np.log(one - a * a + eps)
            action[j, i] = a
    return std, log_pi


@compiled
def clamped(value, low, high):
    if value < low:
        return low
    return high if value > high else value


@compiled
def backward_squash(out, noise, action, std, of_action, of_log_pi):
    """Gradient by out [2A, B], from those by the action [A, B] and by each log-probability.

    da/du = 1 - a², du/d mean = 1, du/d log std = std · noise; log π also depends on log std itself,
    by -1, and on a, by 2a / (1 - a² + eps). The clamp passes nothing outside its range.
    """
    (A, B), T = action.shape, out.dtype.type
    one, two, eps, low, high = T(1), T(2), T(TANH_EPS), T(LOG_STD_MIN), T(LOG_STD_MAX)
    d = np.empty_like(out)
    for j in range(A):
        for i in range(B):
            a, log_std = action[j, i], out[A + j, i]
            slope = one - a * a
            of_u = slope * (of_action[j, i] + of_log_pi * two * a / (slope + eps))
            d[j, i] = of_u
            is_inside = low <= log_std and log_std <= high
            d[A + j, i] = of_u * std[j, i] * noise[i, j] - of_log_pi if is_inside else T(0)
    return d


# --- batches --------------------------------------------------------------------------------------


@compiled
def check(rows, n):
    """Numba looks at no index: one out of range would read whatever lies there."""
    for row in rows:
        if row < 0 or row >= n:
            raise IndexError("an update was given rows that the replay buffer does not have")


@compiled
def gather(table, rows, first, columns):
    """Columns of the table from `first` on, of the rows chosen, transposed: columns [n, B]."""
    for i in range(columns.shape[1]):
        row = table[rows[i]]
        for j in range(columns.shape[0]):
            columns[j, i] = row[first + j]


@compiled
def smaller(a, b):
    """min(a, b), NaN if one is NaN."""
    return a if a < b or a != a else b


# --- what is called from Python -------------------------------------------------------------------


def update(
    actor, actor_adam, twin, twin_adam, target, log_alpha, alpha_adam,
    table, rows, given_reward, noise, next_noise, gamma, target_entropy, tau,
):  # fmt: skip
    """One gradient step each of temperature, critics and actor, then of the target critics.

    It learns from `rows` [B] of the replay table, whose columns are s [O], a [A], s' [O], r,
    terminal, and any others; from given_reward [B] in place of r unless that is empty. With a
    `tau` of 0 the targets stay as they are. noise, next_noise: [B, A].
    """
    check(rows, len(table))
    (B, A), kind, T = noise.shape, table.dtype, table.dtype.type
    width = twin.weights[0].shape[2]
    O = width - A  # noqa: E741
    sa = np.empty((width, B), kind)
    sa_next, sa_new = np.empty_like(sa), np.empty_like(sa)
    gather(table, rows, 0, sa)
    gather(table, rows, 0, sa_new[:O])
    gather(table, rows, width, sa_next[:O])

    alpha = np.exp(log_alpha[0])
    h_actor = forward(actor, 0, sa[:O], T(0))
    std, log_pi = squash(h_actor[-1], noise, sa_new[O:])
    _, log_pi_next = squash(forward(actor, 0, sa_next[:O], T(0))[-1], next_noise, sa_next[O:])

    # d/d(log alpha) of -(log alpha) · mean(log π + target entropy)
    a = alpha_adam
    a.gradient[0] = -(log_pi.mean() + target_entropy)
    adam_step(log_alpha, a.gradient, a.m, a.v, a.steps, a.settings)

    # y = r + gamma · (1 - terminal) · (min over the targets of Q(s', a') - alpha · log π(a'))
    q = [forward(target, k, sa_next, T(0))[-1] for k in range(2)]
    y = np.empty((1, B), kind)
    for i in range(B):
        row = table[rows[i]]
        r, terminal = row[width + O], row[width + O + 1]
        if given_reward.size:
            r = given_reward[i]
        value = smaller(q[0][0, i], q[1][0, i]) - alpha * log_pi_next[i]
        y[0, i] = r + T(gamma) * (T(1) - terminal) * value

    # ½ Σ over the critics of the mean of (Q(s, a) - y)²
    for k in range(2):
        h = forward(twin, k, sa, T(0))
        backward(twin, k, h, (h[-1] - y) / T(B), twin_adam.gradient)
    adam(twin, twin_adam)

    # mean of alpha · log π(a) - min of Q(s, a), whose gradient goes to the smaller, or both
    h_new = [forward(twin, k, sa_new, T(0)) for k in range(2)]
    of_sa = np.zeros_like(sa)
    for k in range(2):
        ahead, d = h_new[k][-1] - h_new[1 - k][-1], np.empty_like(y)
        for i in range(B):
            d[0, i] = -(T(0.5) if ahead[0, i] == 0 else T(ahead[0, i] < 0)) / T(B)
        of_sa += backward_to_input(twin, k, h_new[k], d)
    d = backward_squash(h_actor[-1], noise, sa_new[O:], std, of_sa[O:], alpha / T(B))
    backward(actor, 0, h_actor, d, actor_adam.gradient)
    adam(actor, actor_adam)

    if tau > 0:
        move_towards(target, twin, T(tau))


def act(actor, obs, noise):
    """Actions [N, A] for obs [N, O]: tanh(mean + std · noise), noise [N, A]."""
    action = np.empty((noise.shape[1], noise.shape[0]), obs.dtype)
    squash(forward(actor, 0, np.ascontiguousarray(obs.T), obs.dtype.type(0))[-1], noise, action)
    return np.ascontiguousarray(action.T)


def reward(net, x, slope):
    """The mean over members of tanh of their output, for one input x [in, 1]."""
    T = x.dtype.type
    total = T(0)
    members = net.weights[0].shape[0]
    for k in range(members):
        total += np.tanh(forward(net, k, x, T(slope))[-1][0, 0])
    return total / T(members)


@cache
def machine_code(function: Callable[..., Any], layers: int, dtype: str) -> Callable[..., Any]:
    """One of the three above for networks of this many layers, compiled at its first call.

    Each combination has a cache file of its own: numba keeps an index per function, in which two
    processes that compile for different networks would each overwrite what the other has written.
    """
    name = f"{function.__name__}-{layers}-{dtype}-{get_host_cpu_name()}"
    bound = FunctionType(function.__code__, function.__globals__, name)
    bound.__qualname__ = name
    return njit(cache=CACHE, error_model="numpy")(bound)


# --- torch's memory as arrays ---------------------------------------------------------------------


def network(mlp: StackedMLP, of: Callable[[Tensor], Tensor] = torch.detach) -> Network:
    """Views of the weights and biases, or of what `of` gives for each."""
    weights, biases = ([of(p).numpy() for p in ps] for ps in (mlp.weights, mlp.biases))
    return Network(tuple(weights), tuple(biases))


def adam_of(mlp: StackedMLP, optimizer: optim.Optimizer) -> Adam:
    """Views of the optimizer's state, and room for a gradient; new state needs new views."""
    state = optimizer.state
    return Adam(
        network(mlp, lambda p: torch.empty_like(p, requires_grad=False)),
        network(mlp, lambda p: state[p]["exp_avg"]),
        network(mlp, lambda p: state[p]["exp_avg_sq"]),
        network(mlp, lambda p: state[p]["step"].view(1)),
        settings(optimizer),
    )


def adam_of_one(parameter: Tensor, optimizer: optim.Optimizer) -> Adam:
    """The same for an optimizer of a single vector."""
    state = optimizer.state[parameter]
    m, v, t = state["exp_avg"].numpy(), state["exp_avg_sq"].numpy(), state["step"].view(1).numpy()
    return Adam(np.empty_like(m), m, v, t, settings(optimizer))


def settings(optimizer: optim.Optimizer) -> Settings:
    (group,) = optimizer.param_groups
    beta1, beta2 = group["betas"]
    return Settings(group["lr"], beta1, beta2, group["eps"])


class Machine:
    """An agent's `update` and `act`, compiled for its networks, on views of its memory.

    To be made anew when an optimizer, or the state of one, is another object than before.
    """

    def __init__(self, agent: "SAC") -> None:
        self.settings = (agent.gamma, agent.target_entropy)
        self.actor = network(agent.gaussian)
        self.learners = (
            self.actor,
            adam_of(agent.gaussian, agent.actor.optimizer),
            network(agent.twin),
            adam_of(agent.twin, agent.critic.optimizer),
            network(agent.twin_target),
            agent.log_ent_coef.numpy(),
            adam_of_one(agent.log_ent_coef, agent.ent_coef_optimizer),
        )
        self.dtype = self.actor.weights[0].dtype
        self.act_dim, self.generator = agent.act_dim, agent.generator
        self._buffers: dict[tuple[int, int], tuple[Tensor, np.ndarray]] = {}
        kind = len(self.actor.weights), self.dtype.name
        self._update, self._act = (machine_code(function, *kind) for function in (update, act))

    def update(self, table: Tensor, rows: Tensor, *, reward: Tensor | None, tau: float) -> None:
        """One update from the rows [B] of the table, and from the reward [B] if one is given."""
        given = np.empty(0, self.dtype)
        if reward is not None:
            given = np.ascontiguousarray(reward.numpy(), self.dtype)
        chosen = np.ascontiguousarray(rows.numpy(), np.int64)
        noise, next_noise = (self._noise(len(chosen), which) for which in (0, 1))
        self._update(
            *self.learners, table.numpy(), chosen, given, noise, next_noise, *self.settings, tau
        )

    def act(self, obs: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Actions [N, A] for obs [N, O]: the means, or drawn."""
        n = len(obs)
        noise = np.zeros((n, self.act_dim), self.dtype) if deterministic else self._noise(n)
        return self._act(self.actor, obs, noise)

    def _noise(self, n: int, which: int = 0) -> np.ndarray:
        """Standard normal noise [n, A], as torch's core draws it, in a buffer of its own."""
        if (n, which) not in self._buffers:
            new = torch.empty(n, self.act_dim)
            self._buffers[n, which] = new, new.numpy()
        drawn, noise = self._buffers[n, which]
        drawn.normal_(generator=self.generator)
        return noise


class Reward:
    """The mean of an ensemble's answers, each tanh of a member's output, for one step."""

    def __init__(self, mlp: StackedMLP) -> None:
        self.mlp, self.net, self.slope = mlp, network(mlp), mlp.slope
        self.dtype = self.net.weights[0].dtype
        self._reward = machine_code(reward, len(self.net.weights), self.dtype.name)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy looks at the weights of the copied network."""
        return Reward, (self.mlp,)

    def __call__(self, obs: np.ndarray, act: np.ndarray) -> float:
        """For obs [O] and act [A]."""
        x = np.concatenate((obs, act), dtype=self.dtype)
        return float(self._reward(self.net, x[:, None], self.slope))
