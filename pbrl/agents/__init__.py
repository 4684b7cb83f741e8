"""What acts and learns from rewards: agents, their replay buffer, exploration bonuses."""
